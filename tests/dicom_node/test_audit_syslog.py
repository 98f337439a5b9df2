"""Audit records arrive at a syslog collector, in order, also after it was away."""

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dicom_node.audit.auditor import Auditor
from dicom_node.audit.kinds import Kind
from dicom_node.audit.message import Actor, AuditEvent
from dicom_node.audit.syslog import Export
from tests.dicom_node.audit_rig import problems_of, trail
from tests.dicom_node.certificates import Authority, Pair
from tests.dicom_node.rig import free_port

HEADER = re.compile(
    r"<85>1 \d{4}-\d\d-\d\dT[\d:.]+Z \S+ wetread (\d+) DICOM\+RFC3881 - \ufeff(<AuditMessage>.+)"
)


class TlsCollector:
    """Takes octet-counted messages (RFC 5425) until it is closed."""

    def __init__(self, files: Pair, port: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        plain = socket.create_server(("127.0.0.1", port))
        self._server = context.wrap_socket(plain, server_side=True)
        self.messages: list[str] = []
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        connection, _ = self._server.accept()
        with connection, connection.makefile("rb") as stream:
            while length := b"".join(iter(lambda: stream.read(1).strip(), b"")):
                self.messages.append(stream.read(int(length)).decode())

    def close(self) -> None:
        self._thread.join(timeout=30)
        self._server.close()


@contextmanager
def collecting(files: Pair, port: int) -> Iterator[TlsCollector]:
    collector = TlsCollector(files, port)
    yield collector
    collector.close()


def look(auditor: Auditor, number: int) -> None:
    for n in range(number):
        who = Actor(user=f"reader{n}", asked=True)
        auditor.write(AuditEvent(kind=Kind.ACCESSED, actors=(who,), study_uid="1.2"))


def numbers(messages: list[str]) -> list[int]:
    found = [HEADER.fullmatch(message) for message in messages]
    assert problems_of([each[2] for each in found if each]) == []
    return [int(each[1]) for each in found if each]


def test_udp_brings_each_record_once(engine: Engine) -> None:
    auditor = trail(engine)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        url = f"udp://127.0.0.1:{server.getsockname()[1]}"
        export = Export(engine, auditor._chain, tenant="default", url=url)
        look(auditor, 3)
        assert (export.run(), export.run()) == (3, 0)
        look(auditor, 1)
        assert export.run() == 1
        assert numbers([server.recv(65536).decode() for _ in range(4)]) == [1, 2, 3, 4]


def test_tls_goes_on_where_it_stopped(engine: Engine, tmp_path: Path) -> None:
    authority, port = Authority(tmp_path, "authority"), free_port()
    files = authority.sign("localhost")
    auditor = trail(engine)
    export = Export(
        engine,
        auditor._chain,
        tenant="default",
        url=f"tls://localhost:{port}",
        ca=str(authority.file),
    )
    look(auditor, 2)
    with pytest.raises(OSError, match="refused"):
        export.run()
    assert export.position() == 0
    with collecting(files, port) as first:
        assert export.run() == 2
    look(auditor, 150)
    with collecting(files, port) as second:
        assert export.run() == 150
    assert numbers(first.messages) == [1, 2]
    assert numbers(second.messages) == list(range(3, 153))


def test_a_collector_that_nobody_vouches_for_gets_nothing(engine: Engine, tmp_path: Path) -> None:
    port, auditor = free_port(), trail(engine)
    look(auditor, 1)
    export = Export(engine, auditor._chain, tenant="default", url=f"tls://localhost:{port}")
    files = Authority(tmp_path, "authority").sign("localhost")
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    plain.load_cert_chain(files.certificate, files.key)
    with socket.create_server(("127.0.0.1", port)) as server:

        def take() -> None:
            connection, _ = server.accept()
            with connection, pytest.raises(OSError, match=r".*"):
                plain.wrap_socket(connection, server_side=True)

        thread = threading.Thread(target=take)
        thread.start()
        with pytest.raises(ssl.SSLError):
            export.run()
        thread.join(timeout=30)
    assert export.position() == 0
