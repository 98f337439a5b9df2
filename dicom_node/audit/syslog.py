"""Audit records to a syslog collector: RFC 5424 over UDP (RFC 5426) or TLS (RFC 5425)."""

import errno
import logging
import socket
import ssl
from datetime import UTC, datetime
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import sqlalchemy as sa

from dicom_node import schema
from dicom_node.audit.chain import AuditChain, AuditRecord
from dicom_node.schema_audit import audit_exports as table

_log = logging.getLogger(__name__)
_PRIORITY = 10 * 8 + 5  # facility authpriv, severity notice
_MESSAGE_ID = "DICOM+RFC3881"  # what DICOM and IHE ATNA name the payload
_BOM = "\ufeff"
_CONNECT_S = 10.0
_AT_ONCE = 100


def framed(record: AuditRecord, *, host: str) -> bytes:
    """Return the syslog message of a record."""
    at = datetime.fromtimestamp(record.at, UTC).isoformat(timespec="milliseconds")
    when = at.replace("+00:00", "Z")
    head = f"<{_PRIORITY}>1 {when} {host} wetread {record.number} {_MESSAGE_ID} - "
    return f"{head}{_BOM}{record.message}".encode()


class Collector:
    """A connection to a collector; `OSError` when it cannot be reached."""

    def __init__(self, url: str, *, ca: str = "") -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None, "the settings have checked it"
        assert parts.port is not None, "the settings have checked it"
        self._secure = parts.scheme == "tls"
        where = parts.hostname, parts.port
        if self._secure:
            context = ssl.create_default_context(cafile=ca or None)
            plain = socket.create_connection(where, timeout=_CONNECT_S)
            self._socket: socket.socket = context.wrap_socket(plain, server_hostname=where[0])
        else:
            family, kind, number, _, address = socket.getaddrinfo(*where, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind, number)
            self._socket.connect(address)

    def send(self, message: bytes) -> None:
        """Send one message."""
        if not self._secure:
            self._socket.send(message)
            return
        self._require_open()
        self._socket.sendall(b"%d %b" % (len(message), message))

    def _require_open(self) -> None:
        """Notice a collector that has gone: what is sent to it would be lost without a word."""
        self._socket.settimeout(0)
        try:
            gone = not self._socket.recv(1)
        except (ssl.SSLWantReadError, BlockingIOError):
            gone = False
        finally:
            self._socket.settimeout(_CONNECT_S)
        if gone:
            msg = "the collector has closed the connection"
            raise ConnectionResetError(msg)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        self._socket.close()


class Export:
    """Sends the records of a chain on, from where it was left, in order and none twice.

    But for those on their way when a process dies or a connection breaks: those may come again.
    """

    def __init__(
        self, engine: sa.Engine, chain: AuditChain, *, tenant: str, url: str, ca: str = ""
    ) -> None:
        self._engine, self._chain, self._tenant = engine, chain, tenant
        self._url, self._ca, self._host = url, ca, socket.gethostname()

    def run(self) -> int:
        """Send what has not been sent yet; return how many records.

        Raises
        ------
        OSError
            The collector cannot be reached; what it got is noted.
        """
        sent = 0
        if self._chain.head().number <= self.position():
            return sent
        with Collector(self._url, ca=self._ca) as collector:
            while batch := self._chain.batch(after=self.position(), most=_AT_ONCE):
                for record in batch:
                    self._send(collector, record)
                self._note(batch[-1].number)
                sent += len(batch)
        return sent

    def position(self) -> int:
        """Return the number of the newest record that was sent."""
        query = sa.select(table.c.number).where(*self._mine())
        with self._engine.connect() as db:
            return int(db.execute(query).scalar() or 0)

    def _send(self, collector: Collector, record: AuditRecord) -> None:
        try:
            collector.send(framed(record, host=self._host))
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            _log.error("audit record too long for UDP", extra={"number": record.number})

    def _note(self, number: int) -> None:
        values = {"tenant": self._tenant, "target": self._url, "number": number}
        with schema.writing(self._engine) as db:
            done = db.execute(sa.update(table).where(*self._mine()).values(number=number))
            if not done.rowcount:
                db.execute(sa.insert(table).values(**values))

    def _mine(self) -> tuple[sa.ColumnElement[bool], ...]:
        return table.c.tenant == self._tenant, table.c.target == self._url
