from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt

from imaging.identity import AETitle
from scripts.pacs import PacsPlan
from scripts.receiver import Receiver
from serving.records import Delivery
from tests.dicom_node.rig import free_port
from tests.serving.bench import Bench, peer

# pynetdicom leaves a socket that could not connect to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
RETRIES = {"first_retry_s": 0.5, "longest_retry_s": 4.0, "give_up_days": 1.0}


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    plan = PacsPlan(
        folder=tmp_path / "received",
        dicom_port=free_port(),
        http_port=0,
        forward_to=AETitle("NOBODY"),
        forward_port=1,
    )
    running = Receiver(plan)
    yield running
    running.stop()


@contextmanager
def answering(status: Callable[[str], int]) -> Iterator[int]:
    """Run a peer that answers each C-STORE as told, and knows nothing else; gives its port."""
    ae, port = AE(ae_title="PACS"), free_port()
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(str(context.abstract_syntax))
    handler = (evt.EVT_C_STORE, lambda event: status(event.request.AffectedSOPClassUID))
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[handler])
    yield port
    ae.shutdown()


@pytest.fixture
def delivers(analysed) -> Callable[..., tuple[Bench, list[str]]]:
    """Return what makes an installation with three results for one destination."""

    def made(port: int, *, query: bool = True) -> tuple[Bench, list[str]]:
        pacs = replace(peer(port=port, query=query), instead=())
        bench = analysed(peers=(pacs,), delivery=RETRIES)
        return bench, sorted(d.instance_uid for d in bench.journal.deliveries())

    return made


def delivery(bench: Bench) -> Delivery:
    """Return the one delivery that stands for all."""
    items = bench.journal.deliveries()
    assert len({(d.state, d.attempts, d.last_error, d.proof) for d in items}) == 1
    return items[0]


def test_results_reach_a_destination_that_proves_it(delivers, receiver: Receiver):
    bench, results = delivers(receiver.dicom_port)
    assert bench.courier().attempt("pacs", results, 0) is None
    item = delivery(bench)
    assert (item.state, item.proof, item.attempts) == ("proven", "C-FIND", 1)
    assert item.delivered_at
    assert item.proven_at
    assert receiver.instances(bench.index.studies().studies[0].study_uid) == set(results)


def test_what_the_destination_has_is_not_sent_again(delivers, receiver: Receiver, tmp_path: Path):
    bench, results = delivers(receiver.dicom_port)
    bench.courier().attempt("pacs", results[:1], 0)
    (first,) = (tmp_path / "received").glob("*.dcm")
    first.write_bytes(b"")
    assert bench.courier().attempt("pacs", results, 1) is None
    assert first.read_bytes() == b""
    assert {d.state for d in bench.journal.deliveries()} == {"proven"}
    assert len(list((tmp_path / "received").glob("*.dcm"))) == 3


def test_a_destination_that_cannot_be_asked_gets_them_once(delivers, receiver: Receiver):
    bench, results = delivers(receiver.dicom_port, query=False)
    assert bench.courier().attempt("pacs", results, 0) is None
    item = delivery(bench)
    assert (item.state, item.proof, item.proven_at) == ("delivered", "C-STORE status", None)


def test_a_destination_that_is_down_is_tried_ever_less_often(delivers):
    bench, results = delivers(free_port(), query=False)
    courier = bench.courier()
    assert [courier.attempt("pacs", results, n) for n in (0, 2, 50)] == [0.5, 2, 4]
    item = delivery(bench)
    assert (item.state, item.attempts) == ("waiting", 3)
    assert "cannot be reached" in item.last_error
    assert item.next_attempt_at


def test_after_days_it_is_given_up(delivers):
    bench, results = delivers(free_port(), query=False)
    assert bench.courier().attempt("pacs", results, 50) is not None
    bench.restarted(delivery={**RETRIES, "give_up_days": 1e-9})
    assert bench.courier().attempt("pacs", results, 1) is None
    assert delivery(bench).state == "failed"


@pytest.mark.parametrize(
    ("status", "wait_s", "state"),
    [
        (0xC000, None, "refused"),
        (0xA900, None, "refused"),
        (0x0124, None, "refused"),
        (0x0110, 0.5, "waiting"),
        (0xA700, 0.5, "waiting"),
    ],
)
def test_a_refusal_for_good_is_not_repeated(delivers, status, wait_s, state):
    with answering(lambda _: status) as port:
        bench, results = delivers(port, query=False)
        assert bench.courier().attempt("pacs", results, 0) == wait_s
    item = delivery(bench)
    assert item.state == state
    assert item.last_error.endswith(f"status {status:04X}")


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_a_warning_is_a_success(delivers, status):
    with answering(lambda _: status) as port:
        bench, results = delivers(port, query=False)
        assert bench.courier().attempt("pacs", results, 0) is None
    assert delivery(bench).state == "delivered"


def test_what_was_taken_is_not_held_up_by_what_was_not(delivers):
    """One kind of object is refused for good by a destination that cannot be asked."""
    with answering(lambda kind: 0xC000 if kind.endswith(".66.4") else 0) as port:
        bench, results = delivers(port, query=False)
        assert bench.courier().attempt("pacs", results, 0) is None
    kinds = {r.instance_uid: r.kind for r in bench.journal.results()}
    states = {kinds[d.instance_uid]: d.state for d in bench.journal.deliveries()}
    assert states == {"SEG": "refused", "SR": "delivered", "KEY_IMAGE": "delivered"}


def test_what_was_taken_is_not_sent_again_to_one_that_cannot_be_asked(delivers):
    seen = []
    with answering(lambda kind: seen.append(kind) or (0xA700 if seen.count(kind) == 1 else 0)) as p:
        bench, results = delivers(p, query=False)
        assert bench.courier().attempt("pacs", results[:2], 0) == 0.5
        assert bench.courier().attempt("pacs", results, 1) == 1.0
        assert bench.courier().attempt("pacs", results, 2) is None
        assert bench.courier().attempt("pacs", results, 3) is None
    assert sorted(map(seen.count, set(seen))) == [2, 2, 2]
    assert {d.state for d in bench.journal.deliveries()} == {"delivered"}


def test_success_without_proof_is_tried_again(delivers):
    with answering(lambda _: 0) as port:
        bench, results = delivers(port)
        assert bench.courier().attempt("pacs", results, 0) == 0.5
    item = delivery(bench)
    assert item.state == "waiting"
    assert item.last_error == "sent, but the destination does not list it"


def test_a_destination_that_is_not_configured_is_waited_for(delivers, receiver: Receiver):
    bench, results = delivers(receiver.dicom_port)
    bench.restarted(peers=())
    assert bench.courier().probe("pacs") == "the destination is not configured"
    assert bench.courier().attempt("pacs", results, 0) == 0.5
    item = delivery(bench)
    assert (item.state, item.last_error) == ("waiting", "the destination is not configured")
    bench.restarted(peers=(peer(port=receiver.dicom_port, query=True),))
    assert bench.courier().attempt("pacs", results, 1) is None
    assert delivery(bench).state == "proven"


def test_a_host_name_without_an_address_is_waited_for_and_shown(delivers):
    bench, results = delivers(free_port())
    (pacs,) = bench.settings.peers
    bench.restarted(peers=(replace(pacs, host="no-such-host.invalid"),))
    assert "no address" in str(bench.courier().probe("pacs"))
    assert bench.courier().attempt("pacs", results, 0) == 0.5
    assert "no address" in delivery(bench).last_error


def test_what_a_destination_has_already_is_not_refused(delivers):
    """UIDs derive from content, so a duplicate is the same; one that cannot be asked says so."""
    with answering(lambda _: 0x0111) as port:
        bench, results = delivers(port, query=False)
        assert bench.courier().attempt("pacs", results, 0) is None
    assert delivery(bench).state == "delivered"


def test_a_given_up_delivery_starts_over_when_a_person_asks(delivers, receiver: Receiver):
    bench, results = delivers(receiver.dicom_port)
    bench.journal.update_deliveries(results, "pacs", "failed", error="too long")
    assert bench.courier().attempt("pacs", results, 0) is None
    assert delivery(bench).state == "failed"
    bench.courier().start_over("pacs", results)
    assert bench.courier().attempt("pacs", results, 0) is None
    assert delivery(bench).state == "proven"
