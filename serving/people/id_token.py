"""ID tokens: whether one is genuine, ours and of this sign-in (OpenID Connect Core 3.1.3.7)."""

import hmac
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jwt

from imaging.errors import NotAuthorized

# Signatures by public keys only: `none` and HMAC by what others know can never pass.
ALGORITHMS = frozenset(
    [f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)] + ["EdDSA"]
)
ID_TOKEN_NEEDED = ("iss", "sub", "aud", "exp", "iat")
_CLOCKS_DIFFER_S = 60

Claims = Mapping[str, Any]


class KeyUnknown(NotAuthorized):
    """The provider's keys have none that the token names."""


class TokenRefused(NotAuthorized):
    """The token cannot be trusted."""


def verified(
    token: str,
    keys: Sequence[Claims],
    *,
    issuer: str,
    client_id: str,
    needed: Sequence[str] = ID_TOKEN_NEEDED,
) -> Claims:
    """Return the claims of a token that one of these keys has signed for us.

    Raises
    ------
    KeyUnknown
        The key is not among these: there may be newer ones.
    TokenRefused
        It is not genuine, not for us, or over.
    """
    try:
        claims: Claims = jwt.decode(
            token,
            _key(jwt.get_unverified_header(token), keys),
            algorithms=sorted(ALGORITHMS),
            issuer=issuer,
            audience=client_id,
            leeway=_CLOCKS_DIFFER_S,
            options={"require": list(needed)},
        )
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        msg = f"the token is refused: {error}"
        raise TokenRefused(msg) from error
    party = claims.get("azp")
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if (several or party is not None) and party != client_id:
        msg = "the token is refused: it was given to another client (azp)"
        raise TokenRefused(msg)
    return claims


def must_answer(claims: Claims, nonce: str) -> None:
    """Refuse the token of another sign-in.

    Raises
    ------
    TokenRefused
        It does not hold the nonce of this one.
    """
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        msg = "the token is refused: it belongs to another sign-in (nonce)"
        raise TokenRefused(msg)


def claim(claims: Claims, name: str) -> Any:
    """Return a claim, by its name or by a way of dots into it; None where there is none."""
    if name in claims:
        return claims[name]
    first, _, rest = name.partition(".")
    inner = claims.get(first)
    return claim(inner, rest) if rest and isinstance(inner, Mapping) else None


def _key(header: Claims, keys: Sequence[Claims]) -> jwt.PyJWK:
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        msg = f"the token is refused: {algorithm!r} is no signature that counts here"
        raise TokenRefused(msg)
    fitting = list(_fitting(header, keys))
    if len(fitting) != 1:  # without a name of the key there must be no choice
        raise KeyUnknown
    return jwt.PyJWK(dict(fitting[0]), algorithm=algorithm)


def _fitting(header: Claims, keys: Sequence[Claims]) -> Iterator[Claims]:
    kinds = {"R": "RSA", "P": "RSA", "E": "OKP" if header["alg"] == "EdDSA" else "EC"}
    for key in keys:
        told = (key.get("kty"), key.get("use", "sig"), key.get("alg", header["alg"]))
        named = "kid" not in header or key.get("kid") == header["kid"]
        if named and told == (kinds[header["alg"][0]], "sig", header["alg"]):
            yield key
