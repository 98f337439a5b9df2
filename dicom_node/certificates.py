"""Whether certificates will do, by a handshake with ourselves: key, chain, purpose and time."""

import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dicom_node.tls import TlsFiles, client_context, said, server_context
from imaging.errors import SetupError

_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_TURNS = 10  # a handshake needs three
_DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Until when the certificates of a file are good; `problem` is empty when they are now.

    `expires_at`: Unix seconds of the one that ends first; ``None`` when they cannot be read.
    """

    path: str
    expires_at: float | None = None
    problem: str = ""
    remark: str = ""

    def days_left(self, now: float) -> int:
        """Whole days until the first expires; 0 for one that is of no use."""
        if self.problem or self.expires_at is None:
            return 0
        return max(0, int((self.expires_at - now) // _DAY_S))


def examine(files: TlsFiles) -> Iterator[Validity]:
    """Look at our certificate and at the authorities."""
    if files.certificate:
        yield _own(files)
    if files.ca:
        yield _authorities(files.ca)


def _own(files: TlsFiles) -> Validity:
    alone = TlsFiles(certificate=files.certificate, key=files.key, ca=files.certificate)
    try:
        shown = _handshake(alone)
    except (SetupError, OSError) as error:
        return Validity(path=files.certificate, problem=_words(error))
    expires_at = float(ssl.cert_time_to_seconds(shown["notAfter"]))
    remark = "" if _is_vouched_for(files) else "no authority in ca vouches for it; peers need its"
    return Validity(path=files.certificate, expires_at=expires_at, remark=remark)


def _is_vouched_for(files: TlsFiles) -> bool:
    if not files.ca:
        return True
    try:
        _handshake(files)
    except (SetupError, OSError):
        return False
    return True


def _authorities(path: str) -> Validity:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except OSError as error:
        return Validity(path=path, problem=said(error))
    ends = [float(ssl.cert_time_to_seconds(str(ca["notAfter"]))) for ca in context.get_ca_certs()]
    return Validity(
        path=path,
        expires_at=min(ends, default=None),
        problem="" if ends else "there is no certificate of an authority in it",
    )


def _handshake(files: TlsFiles) -> dict[str, Any]:
    """Return what we show each other as client and as server, each verified by `files.ca`."""
    server = server_context(files)
    client = client_context(files, verify_host=False, accepts=lambda _: True)
    for context in (server, client):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(_TURNS):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    shown = ends[0].getpeercert()
    assert shown is not None, "a verified certificate can be read"
    return dict(shown)


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code == _EXPIRED:
        return "it has expired"
    return said(error) if isinstance(error, OSError) else str(error)
