"""Logout tokens: a provider ends sessions here (OpenID Connect Back-Channel Logout 1.0)."""

from collections.abc import Mapping
from dataclasses import dataclass

from serving.people.id_token import Claims, TokenRefused

PATH = "/sign-out/back-channel"
NEEDED = ("iss", "aud", "iat", "jti", "events")
OLDEST_S = 300.0  # so long the number of a token is remembered, and longer none counts
_EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Logout:
    """Whose sessions are to end: one by `sid`, or without it all of a subject."""

    issuer: str
    number: str
    subject: str
    sid: str


def logout_of(claims: Claims, now: float) -> Logout:
    """Return what a genuine token asks for (2.4 and 2.6).

    Raises
    ------
    TokenRefused
        It is no logout token, too old, or names nobody.
    """
    events = claims["events"]
    if not (isinstance(events, Mapping) and isinstance(events.get(_EVENT), Mapping)):
        msg = "it is no logout token (events)"
        raise TokenRefused(msg)
    if "nonce" in claims:  # an ID token in its place
        msg = "a logout token holds no nonce"
        raise TokenRefused(msg)
    if abs(now - float(claims["iat"])) > OLDEST_S:
        msg = "the logout token is too old (iat)"
        raise TokenRefused(msg)
    found = Logout(
        issuer=claims["iss"],
        number=_text(claims, "jti"),
        subject=_text(claims, "sub"),
        sid=_text(claims, "sid"),
    )
    if not found.number or not (found.subject or found.sid):
        msg = "the logout token names no session and nobody (sid, sub), or has no number (jti)"
        raise TokenRefused(msg)
    return found


def _text(claims: Claims, name: str) -> str:
    value = claims.get(name, "")
    return value if isinstance(value, str) else ""
