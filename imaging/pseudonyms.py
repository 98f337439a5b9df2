"""What stands in the place of identities: derived with a secret key, so always the same.

Without the key nobody can tell which pseudonym is whose, nor try a list of patient IDs.
"""

import hashlib
import hmac
import os
import secrets
import uuid
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from imaging.errors import SetupError

_KEY_BYTES = 32
_OWNER_ONLY = 0o600
_OTHERS = 0o077
_LONGEST_SHIFT_DAYS = 3650
_SHORTEST_SHIFT_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Pseudonyms:
    """Derives pseudonyms; the key never appears in what it derives, nor in `repr`."""

    secret: "Secret"

    def patient(self, patient_id: str) -> str:
        """Return the pseudonym of a patient."""
        return f"P{self._digest('patient', patient_id).hex()[:16].upper()}"

    def reader(self, name: str) -> str:
        """Return the pseudonym of a reader."""
        return f"R{self._digest('reader', name).hex()[:12].upper()}"

    def site(self, name: str) -> str:
        """Return the pseudonym of an institution."""
        return f"S{self._digest('site', name).hex()[:8].upper()}"

    def case(self, *content: str) -> str:
        """Return the name of a case: the same content has the same one."""
        return f"C{self._digest('case', *content).hex()[:20]}"

    def uid(self, uid: str) -> str:
        """Return the UID that replaces another; references keep pointing at the same thing."""
        digest = self._digest("uid", uid)[:16]
        return f"2.25.{uuid.UUID(bytes=digest, version=4).int}"

    def shift_days(self, patient_id: str) -> int:
        """Return by how many days every date of a patient moves into the past."""
        number = int.from_bytes(self._digest("dates", patient_id)[:8])
        span = _LONGEST_SHIFT_DAYS - _SHORTEST_SHIFT_DAYS + 1
        return _SHORTEST_SHIFT_DAYS + number % span

    def fraction(self, patient: str) -> float:
        """Return a number from 0 up to 1 that belongs to a patient: what a split is decided by."""
        return int.from_bytes(self._digest("split", patient)[:6]) / (1 << 48)

    def _digest(self, *parts: str) -> bytes:
        message = chr(31).join(parts).encode("utf-8", "surrogatepass")
        return hmac.new(self.secret.value, message, hashlib.sha256).digest()


@dataclass(frozen=True, slots=True)
class Secret:
    """A key that does not show itself."""

    value: bytes

    @override
    def __repr__(self) -> str:
        return "Secret(...)"


def kept_pseudonyms(path: Path) -> Pseudonyms:
    """Return the pseudonyms of a key file, which is made when there is none, for its owner only.

    Raises
    ------
    SetupError
        It cannot be made or read, is no key, or others may read it.
    """
    try:
        _make(path)
        if path.stat().st_mode & _OTHERS:
            msg = f"{path} may be read by others: chmod 600 it, if nobody did"
            raise SetupError(msg)
        value = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        msg = f"the key {path} cannot be used: {error.strerror}"
        raise SetupError(msg) from error
    except ValueError:
        value = b""
    if len(value) != _KEY_BYTES:
        msg = f"{path} is no key of {_KEY_BYTES} bytes in hexadecimal"
        raise SetupError(msg)
    return Pseudonyms(secret=Secret(value))


def _make(path: Path) -> None:
    """Write a whole key under its name, unless one is there."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(_KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(temporary)  # never replaces a key that another process made just now
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
