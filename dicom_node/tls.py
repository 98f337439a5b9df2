"""DICOM over TLS (PS3.15 B.12: BCP 195 with RFC 8996 and 9325), with certificates from PEM files.

Never less than TLS 1.2, and only suites with forward secrecy and authenticated encryption.
"""

import hashlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from typing_extensions import override

from imaging.errors import SetupError

_log = logging.getLogger(__name__)
TlsVersion = Literal["1.2", "1.3"]
_SUITES_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"  # those of TLS 1.3 are all sound
_MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files: our certificate (its chain behind it) and key, and the authorities we trust."""

    certificate: str = ""
    key: str = ""
    ca: str = ""
    minimum_version: TlsVersion = "1.2"

    @property
    def paths(self) -> tuple[Path, ...]:
        """Those that are named."""
        return tuple(Path(name) for name in (self.certificate, self.key, self.ca) if name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCertificate:
    """What a peer has shown: SHA-256 of the certificate in hexadecimal digits, and its names.

    There are names only where the certificate was verified.
    """

    fingerprint: str
    names: frozenset[str]


def peer_certificate(connection: ssl.SSLSocket) -> PeerCertificate | None:
    """Return the certificate of the other end, ``None`` when it has shown none."""
    encoded = connection.getpeercert(binary_form=True)
    if encoded is None:
        return None
    shown = connection.getpeercert() or {}
    # A subject is a tuple of relative names, each a tuple of pairs
    parts = (pair for relative in shown.get("subject", ()) for pair in relative)
    names = {str(pair[1]) for pair in parts if pair[0] == "commonName"}
    names |= {str(pair[1]) for pair in shown.get("subjectAltName", ())}
    return PeerCertificate(fingerprint=hashlib.sha256(encoded).hexdigest(), names=frozenset(names))


def server_context(files: TlsFiles, *, require_client: bool = True) -> ssl.SSLContext:
    """Return the context of a listener; `SetupError` when a file cannot be used.

    `require_client`: only clients with a certificate of one of the authorities are let in.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _prepare(context, files)
    if files.ca:
        context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_OPTIONAL
    elif require_client:
        msg = "TLS: client certificates are required, but no ca is named that vouches for them"
        raise SetupError(msg)
    return context


class ClientContext(ssl.SSLContext):
    """A context for one call that also asks whether the certificate shown is the peer's.

    `problem` says why there is no connection: files that cannot be used are one more reason.
    """

    accepts: Callable[[PeerCertificate], bool]
    problem: str = ""

    @override
    def wrap_socket(self, sock: socket.socket, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        if self.problem:
            sock.close()
            raise ssl.SSLError(self.problem)
        return super().wrap_socket(sock, *arguments, **options)


class CheckedSocket(ssl.SSLSocket):
    """Checks after each handshake whose certificate it was."""

    def note(self, error: OSError) -> None:
        """Remember what is wrong: that a peer did not like our certificate comes with its data."""
        assert isinstance(self.context, ClientContext)
        self.context.problem = said(error)

    @override
    def do_handshake(self, block: bool = False) -> None:
        context = self.context
        assert isinstance(context, ClientContext)
        try:
            super().do_handshake(block)
            certificate = peer_certificate(self)
            if certificate is None or not context.accepts(certificate):
                msg = "the certificate is not the one of this peer"
                raise ssl.SSLError(ssl.SSL_ERROR_SSL, msg)
        except OSError as error:
            self.note(error)
            raise

    @override
    def connect(self, addr: Any) -> None:
        try:
            super().connect(addr)
        except OSError:
            self.close()  # which pynetdicom leaves out
            raise


def client_context(
    files: TlsFiles, *, verify_host: bool, accepts: Callable[[PeerCertificate], bool]
) -> ClientContext:
    """Return the context for calling a peer once."""
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = verify_host
    context.accepts = accepts
    context.sslsocket_class = CheckedSocket
    try:
        _prepare(context, files)
    except SetupError as error:
        context.problem = str(error)
    return context


class Reloading:
    """The context of a listener, made anew when one of its files changes.

    While the new files cannot be used, such as a certificate whose key has not come yet, the old
    context goes on.
    """

    def __init__(self, files: TlsFiles, *, require_client: bool = True) -> None:
        self._files, self._require_client = files, require_client
        self._lock = threading.Lock()
        self._stamp = _stamp(files)
        self._context = server_context(files, require_client=require_client)

    def __call__(self) -> ssl.SSLContext:
        """Return the context for the next connection."""
        with self._lock:
            stamp = _stamp(self._files)
            if stamp != self._stamp:
                self._stamp = stamp
                self._reload()
            return self._context

    def _reload(self) -> None:
        try:
            self._context = server_context(self._files, require_client=self._require_client)
            _log.info("certificates reloaded")
        except SetupError as error:
            _log.warning("certificates not reloaded", extra={"why": str(error)})


def said(error: OSError) -> str:
    """Return what is wrong with a TLS connection, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message or error.strerror}"
    reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return f"TLS: {str(reason).replace('_', ' ').lower()}"


def _prepare(context: ssl.SSLContext, files: TlsFiles) -> None:
    context.minimum_version = _MINIMUM[files.minimum_version]
    context.set_ciphers(_SUITES_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        if files.certificate:
            context.load_cert_chain(files.certificate, files.key or None, password=no_password)
        if files.ca:
            context.load_verify_locations(files.ca)
    except OSError as error:
        named = ", ".join(map(str, files.paths))
        msg = f"{said(error)} ({named})"
        raise SetupError(msg) from error


def no_password() -> str:
    """Refuse to ask for the password of a key."""
    msg = "the key is encrypted; a service has nobody to ask for its password"
    raise SetupError(msg)


def _stamp(files: TlsFiles) -> Stamp:
    return tuple(map(_file_stamp, files.paths))


def _file_stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
