"""Passwords as they are kept: scrypt, its cost and salt beside each."""

import hashlib
import hmac
import secrets
import unicodedata

_COST, _BLOCK, _PASSES = 1 << 15, 8, 3
_MEMORY = 64 << 20


def hashed(password: str) -> str:
    """Return what is kept of a password."""
    salt = secrets.token_hex(16)
    digest = _scrypt(password, salt, (_COST, _BLOCK, _PASSES))
    return f"{_COST}${_BLOCK}${_PASSES}${salt}${digest}"


def fits(password: str, kept: str) -> bool:
    """Whether it is the password that this was kept of."""
    cost, block, passes, salt, digest = kept.split("$")
    made = _scrypt(password, salt, (int(cost), int(block), int(passes)))
    return hmac.compare_digest(made, digest)


def _scrypt(password: str, salt: str, cost: tuple[int, int, int]) -> str:
    n, r, p = cost
    text = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=bytes.fromhex(salt), n=n, r=r, p=p, maxmem=_MEMORY).hex()
