"""What breaks the protocol or a limit is ended with a reason, and harms nobody else."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from dicom_node.guard import Fault
from dicom_node.limits import Limits
from dicom_node.peers import AssociationPolicy
from scripts import raw_pdus as raw
from scripts.raw_pdus import COMMAND, LAST, Reply
from tests.dicom_node.rig import OURS, Running, dataset_of, image, part10, wait_for

Start = Callable[..., Running]
ACCEPTED, REJECTED, DATA, RELEASED, ABORTED = 2, 3, 4, 6, 7


def connected(port: int, seconds: float = 30) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.settimeout(seconds)
    return connection


def answer(running: Running, *pdus: bytes) -> Reply:
    with connected(running.port) as connection:
        for each in pdus:
            connection.sendall(each)
        return raw.replies(connection)


def aborted(reply: Reply) -> Fault:
    assert reply.closed
    assert reply.reason is not None
    assert reply.reason[0] == 2  # the service provider
    return Fault(reply.reason[1])


LONG = raw.user_information(b"".join(raw.item(0x54, b"") for _ in range(600)))


BAD_BEGINNINGS = (
    (b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n", Fault.UNRECOGNIZED_PDU),
    (raw.RELEASE, Fault.UNRECOGNIZED_PDU),
    (raw.pdu(1, bytes(10)), Fault.INVALID_PARAMETER),
    (b"\1\0" + (1 << 30).to_bytes(4, "big"), Fault.INVALID_PARAMETER),
    (raw.request([raw.context(1, raw.CT)] * 2), Fault.INVALID_PARAMETER),
    (raw.request([raw.context(2, raw.CT)]), Fault.INVALID_PARAMETER),
    (
        raw.request([raw.context(n % 128 * 2 + 1, raw.CT) for n in range(2000)]),
        Fault.INVALID_PARAMETER,
    ),
    (raw.request([raw.context(1, raw.CT, [raw.IMPLICIT] * 600)]), Fault.INVALID_PARAMETER),
    (raw.request(user=LONG), Fault.INVALID_PARAMETER),
    (raw.request([b"\x20\0\xff\xff"]), Fault.INVALID_PARAMETER),
)


def test_a_bad_beginning_is_refused_with_the_reason(running: Running) -> None:
    found = [aborted(answer(running, said)) for said, _ in BAD_BEGINNINGS]
    assert found == [fault for _, fault in BAD_BEGINNINGS]
    assert running.dcmtk("echoscu").code == 0


ECHO = raw.echo()
HALF = raw.fragment(1, COMMAND, ECHO[:20])


BAD_MESSAGES = (
    (raw.data(raw.fragment(1, LAST, b"data")), Fault.UNEXPECTED_PDU),
    (raw.data(HALF, raw.fragment(3, COMMAND | LAST, ECHO[20:])), Fault.UNEXPECTED_PDU),
    (raw.data(HALF, raw.fragment(1, LAST, b"data")), Fault.UNEXPECTED_PDU),
    (raw.message(3, raw.store()) + raw.message(3, ECHO), Fault.UNEXPECTED_PDU),
    (raw.data(raw.fragment(1, COMMAND | LAST, ECHO), HALF), Fault.UNEXPECTED_PDU),
    (raw.message(5, ECHO), Fault.INVALID_PARAMETER),
    (raw.message(2, ECHO), Fault.INVALID_PARAMETER),
    (raw.pdu(4, struct.pack(">IBB", 1000, 1, 3)), Fault.INVALID_PARAMETER),
    (raw.pdu(4, struct.pack(">IB", 1, 1)), Fault.INVALID_PARAMETER),
    (raw.message(1, ECHO[:-3]), Fault.INVALID_PARAMETER),
    (raw.message(1, b"\0" * 7), Fault.INVALID_PARAMETER),
    (raw.message(1, raw.command(0x0666)), Fault.INVALID_PARAMETER),
    (raw.message(1, raw.element(0x0100, raw.whole(0x30))), Fault.INVALID_PARAMETER),
    (raw.data(HALF) * 1000, Fault.INVALID_PARAMETER),
)


def test_a_bad_message_ends_the_association_with_the_reason(running: Running) -> None:
    found = [aborted(answer(running, raw.request(), said)) for said, _ in BAD_MESSAGES]
    assert found == [fault for _, fault in BAD_MESSAGES]
    wait_for(lambda: not running.node._ae.active_associations)


def test_a_message_may_come_in_many_fragments_and_pdus(running: Running) -> None:
    sent = dataset_of(part10(image()))
    fragments = [raw.data(raw.fragment(3, 0, sent[at : at + 7])) for at in range(0, len(sent), 7)]
    store = raw.store(image().SOPInstanceUID)
    pieces = [raw.fragment(3, COMMAND, store[:9]), raw.fragment(3, COMMAND | LAST, store[9:])]
    end = raw.data(raw.fragment(3, LAST, b""))
    said = (raw.request(), raw.data(*pieces), *fragments, end, raw.RELEASE)
    reply = answer(running, *said)
    assert reply.kinds == (ACCEPTED, DATA, RELEASED)
    assert running.index.instance(image().SOPInstanceUID)


def test_slow_and_silent_peers_are_ended(start: Start) -> None:
    limits = Limits(associate_s=0.5, grace_s=0.5, slowest_rate=1 << 20)
    running = start(limits=limits)
    with connected(running.port) as silent, connected(running.port) as dripping:
        dripping.sendall(raw.request()[:3])
        assert aborted(raw.replies(silent)) is Fault.NOT_SPECIFIED
        assert aborted(raw.replies(dripping)) is Fault.NOT_SPECIFIED
    assert aborted(answer(running, raw.request(), raw.data(HALF))) is Fault.NOT_SPECIFIED
    with connected(running.port) as stalling:  # inside a PDU there is nobody to tell
        stalling.sendall(raw.request() + raw.data(HALF)[:8])
        assert raw.replies(stalling).closed


def test_endless_empty_fragments_end(start: Start) -> None:
    running = start(limits=Limits(grace_s=0.5, slowest_rate=1 << 20))
    with connected(running.port) as connection:
        connection.sendall(raw.request())
        assert raw.read_pdu(connection)[0] == ACCEPTED
        deadline, reply = time.monotonic() + 20, None
        while reply is None and time.monotonic() < deadline:
            try:
                connection.sendall(raw.data(raw.fragment(1, COMMAND, b"")))
            except OSError:
                reply = raw.replies(connection)
        assert reply is not None


def test_a_message_may_not_be_endless(start: Start) -> None:
    running = start(limits=Limits(message_bytes=100_000))
    piece = raw.data(raw.fragment(3, 0, bytes(10_000)))
    said = (raw.request(), raw.message(3, raw.store()), *[piece] * 12)
    assert aborted(answer(running, *said)) is Fault.NOT_SPECIFIED


def test_one_peer_gets_no_more_than_its_share(start: Start) -> None:
    running = start(limits=Limits(associations_of_peer=2))
    with connected(running.port) as one, connected(running.port) as two:
        for each in (one, two):
            each.sendall(raw.request())
            assert raw.read_pdu(each)[0] == ACCEPTED
        reply = answer(running, raw.request())
        assert (reply.kinds, reply.reason) == ((REJECTED,), (3, 2))
        assert answer(running, raw.request(calling="OTHER"), raw.RELEASE).kinds[0] == ACCEPTED


def test_connections_that_ask_for_nothing_keep_nobody_out(start: Start) -> None:
    running = start(limits=Limits(half_open=4))
    idle = [connected(running.port) for _ in range(12)]
    assert running.dcmtk("echoscu").code == 0
    for each in idle[:8]:
        assert raw.replies(each).closed
    for each in idle:
        each.close()


def test_who_does_not_wait_for_answers_is_not_read_further(start: Start) -> None:
    release, waiting = threading.Event(), threading.Event()

    class Slow(AssociationPolicy):
        def may_store(self, calling_ae: str, address: str) -> bool:
            waiting.set()
            release.wait(20)
            return super().may_store(calling_ae, address)

    running = start(Slow(ae_title=OURS))
    one = raw.message(3, raw.store()) + raw.data(raw.fragment(3, 0, bytes(500_000))) * 4
    one += raw.data(raw.fragment(3, LAST, b""))
    with connected(running.port) as connection:
        connection.sendall(raw.request())
        assert raw.read_pdu(connection)[0] == ACCEPTED
        connection.settimeout(1)
        sent = 0
        with suppress(TimeoutError):
            while sent < 100:
                connection.sendall(one)
                sent += 1
        assert waiting.is_set()
        assert sent < 20
        release.set()


def test_a_flood_of_reports_is_answered_one_by_one(running: Running) -> None:
    report = raw.command(raw.N_EVENT_REPORT, raw.element(0x0002, raw.uid(raw.COMMITMENT)))
    said = raw.request([raw.context(1, raw.COMMITMENT)]) + raw.message(1, report) * 500
    before = threading.active_count()
    most = 0
    with connected(running.port) as connection:
        connection.sendall(said)
        connection.settimeout(0.5)
        for _ in range(5):
            raw.replies(connection, most=20)
            most = max(most, threading.active_count() - before)
    assert most < 12
    assert running.dcmtk("echoscu").code == 0
