"""Certificates for tests, made by openssl."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Pair:
    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 as openssl writes it."""
        said = openssl("x509", "-in", self.certificate, "-noout", "-fingerprint", "-sha256")
        return said.strip().partition("=")[2]


class Authority:
    """Signs certificates, in a folder of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self.file, self._key = folder, folder / f"{name}.pem", folder / f"{name}.key"
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"),
            *("-subj", f"/CN={name}", "-keyout", self._key, "-out", self.file),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )

    def sign(self, name: str, *, days: int = 30, extra: str = "", names: str = _NAMES) -> Pair:
        """Return a new pair; `days` may be 0, so that it has expired at once."""
        stem = self._folder / name
        made = Pair(certificate=stem.with_suffix(".pem"), key=stem.with_suffix(".key"))
        request, extensions = stem.with_suffix(".csr"), stem.with_suffix(".ext")
        extensions.write_text(f"{names}\nbasicConstraints=CA:FALSE\n{extra}\n")
        openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", made.key, "-out", request),
        )
        openssl(
            *("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self._key),
            *("-CAcreateserial", "-days", days, "-extfile", extensions, "-out", made.certificate),
        )
        return made


def openssl(*arguments: object) -> str:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
