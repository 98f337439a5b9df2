"""A system that is told what becomes of studies, as it is configured."""

import base64
import binascii
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from dicom_node.tls import no_password
from imaging.errors import SetupError
from serving.messages import MessageEvent

_EVENTS: tuple[MessageEvent, ...] = get_args(MessageEvent)
_LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
_SHORTEST, _LONGEST = 24, 64  # bytes of a key (Standard Webhooks)
_PREFIX = "whsec_"
_LARGEST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A configured receiver; with a `secret_file` the secret may be changed while we run."""

    name: str
    kind: Literal["webhook", "hl7", "fhir"]
    url: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False
    secret: str = field(default="", repr=False)
    secret_file: Path | None = None
    secret_variable: str = ""
    ca_file: Path | None = None
    certificate_file: Path | None = None
    certificate_key_file: Path | None = None
    events: tuple[MessageEvent, ...] = _EVENTS
    accession: bool = False
    patient_system: str = ""
    issuers: Mapping[str, str] = field(default_factory=dict)
    token_url: str = ""
    client_id: str = ""
    scope: str = ""
    key_file: Path | None = None
    key_id: str = ""
    sending_application: str = "WETREAD"
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""

    def current_secret(self) -> str:
        """Return the secret, empty when there is none.

        Raises
        ------
        SetupError
            The file with it cannot be read.
        """
        if self.secret_file is None:
            return self.secret
        try:
            return self.secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"the secret of {self.name} cannot be read: {error}"
            raise SetupError(msg) from error

    def address(self) -> tuple[str, int]:
        """Return host and port."""
        if self.kind == "hl7":
            return self.host, self.port
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    def problem(self) -> str:
        """Return what is wrong with what can be looked at without calling, empty if nothing."""
        try:
            if self.kind == "webhook":
                self.key()
            self.current_secret()
            if self.key_file:
                self.key_file.read_bytes()
            self.tls_context()
        except (SetupError, OSError) as error:
            return str(error)
        return ""

    def tls_context(self) -> ssl.SSLContext:
        """Return what verifies the receiver, and shows it our certificate where there is one.

        Raises
        ------
        SetupError
            One of the files cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file:
                files = self.certificate_file, self.certificate_key_file
                context.load_cert_chain(*files, password=no_password)
        except OSError as error:
            msg = f"the certificates of {self.name} cannot be used: {error}"
            raise SetupError(msg) from error
        return context

    def key(self) -> bytes:
        """Return the key that signs a webhook.

        Raises
        ------
        SetupError
            The secret is none.
        """
        secret = self.current_secret()
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            key = b""
        if not secret.startswith(_PREFIX) or not _SHORTEST <= len(key) <= _LONGEST:
            msg = (
                f"the secret of {self.name} must be {_PREFIX} and "
                f"{_SHORTEST} to {_LONGEST} bytes in Base64"
            )
            raise SetupError(msg)
        return key


def usable(target: Target) -> Target:
    """Return a target that can be used.

    Raises
    ------
    ValueError
        It cannot.
    """
    if target.certificate_key_file and not target.certificate_file:
        msg = f"{target.name}: certificate_key_file needs certificate_file"
        raise ValueError(msg)
    if target.kind == "hl7":
        if not target.host or not 0 < target.port <= _LARGEST_PORT:
            msg = f"{target.name} needs a host, and a port from 1 to {_LARGEST_PORT}"
            raise ValueError(msg)
        return target
    _check_url(target.url)
    has_secret = bool(target.secret or target.secret_file or target.secret_variable)
    if target.kind == "webhook" and not has_secret:
        msg = f"{target.name} needs a secret, in secret_file or secret_variable"
        raise ValueError(msg)
    if target.kind == "fhir":
        _check_fhir(target, has_secret=has_secret)
    return target


def _check_fhir(target: Target, *, has_secret: bool) -> None:
    if not target.patient_system:
        msg = f"{target.name} needs patient_system: the system of patient IDs on that server"
        raise ValueError(msg)
    if target.token_url:
        _check_url(target.token_url)
        if not target.client_id or has_secret == bool(target.key_file):
            msg = f"{target.name}: token_url needs client_id, and a secret or key_file"
            raise ValueError(msg)
    elif target.key_file or target.client_id:
        msg = f"{target.name}: client_id and key_file need token_url"
        raise ValueError(msg)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"url {url!r} is not that of a web service"
        raise ValueError(msg)
    if parts.username or parts.password or parts.fragment:
        msg = "url holds a secret or fragment; a secret belongs into secret_file"
        raise ValueError(msg)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        msg = f"url {url} would carry findings or secrets in the clear; use https"
        raise ValueError(msg)
