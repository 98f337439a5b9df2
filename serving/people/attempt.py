"""One sign-in at a provider, bound to the browser that began it.

The browser keeps one secret in a cookie; state, nonce and PKCE verifier (RFC 7636) derive from it,
so that no answer counts in another browser, and nothing has to be kept here.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

LONGEST_S = 600


@dataclass(frozen=True, slots=True)
class Attempt:
    """What belongs to one secret."""

    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def state(self) -> str:
        """What comes back beside the code."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """What the ID token must hold."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """What only who began can show when the code is redeemed."""
        return self._derived("verifier")

    @property
    def challenge(self) -> str:
        """The digest of the verifier that the provider gets first (S256)."""
        return _text(hashlib.sha256(self.verifier.encode()).digest())

    def is_answered(self, state: str) -> bool:
        """Whether an answer belongs to it."""
        return hmac.compare_digest(state.encode(), self.state.encode())

    def _derived(self, what: str) -> str:
        return _text(hmac.digest(self.secret.encode(), what.encode(), "sha256"))


def _text(digest: bytes) -> str:
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
