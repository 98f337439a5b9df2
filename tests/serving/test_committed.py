"""Deliveries whose proof is storage commitment."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import StorageCommitmentPushModel

from dicom_node.commitment import Answer, Named
from dicom_node.commitment_scp import CommitmentProvider
from dicom_node.peers import AssociationPolicy, Peer
from dicom_node.scp import Listening, Node
from scripts.receiver import Receiver
from tests.dicom_node.rig import OURS, free_port
from tests.serving.bench import Bench, peer
from tests.serving.test_courier import receiver

__all__ = ["receiver"]
RETRIES = {"first_retry_s": 0.5, "longest_retry_s": 4.0, "commitment_s": 60.0}


class Forgetful:
    """A PACS that takes everything, and requests for commitment too, and answers none."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.asked: list[str] = []
        self.port = free_port()
        self._ae = AE(ae_title="PACS")
        for context in AllStoragePresentationContexts:
            self._ae.add_supported_context(str(context.abstract_syntax))
        self._ae.add_supported_context(StorageCommitmentPushModel)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._asked)]
        self._ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)

    def _store(self, event: Event) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    def _asked(self, event: Event) -> tuple[int, Dataset | None]:
        self.asked.append(str(event.action_information.TransactionUID))
        return 0, None

    def stop(self) -> None:
        self._ae.shutdown()


def states(bench: Bench) -> set[tuple[str, str]]:
    return {(d.state, d.proof) for d in bench.journal.deliveries()}


def uids(bench: Bench) -> list[str]:
    return sorted(d.instance_uid for d in bench.journal.deliveries())


@pytest.fixture
def listening(our_port: int) -> Iterator[Callable[[Bench, Peer], None]]:
    """Return what lets the node of an installation listen where Orthanc knows it."""
    stops: list[Callable[[], None]] = []

    def started(bench: Bench, pacs: Peer) -> None:
        policy = AssociationPolicy(ae_title=OURS, peers=(pacs,))
        parts = bench.parts
        made = CommitmentProvider(parts.index, parts.archive, parts.transactions, policy=policy)
        node = Node(
            parts.ingest,
            policy,
            lambda _: None,
            listening=Listening(host="127.0.0.1", port=our_port),
            services=made.handlers(),
        )
        node.start()
        stops.append(node.stop)

    yield started
    for stop in stops:
        stop()


def test_a_pacs_commits_to_results(analysed, orthanc: Peer, listening, tmp_path: Path):
    pacs = replace(orthanc, commitment=True, deliver=True)
    bench: Bench = analysed(peers=(pacs,), delivery=RETRIES)
    listening(bench, pacs)
    assert bench.courier().attempt("pacs", uids(bench), 0) is None
    assert states(bench) == {("proven", "storage commitment")}
    assert {d.attempts for d in bench.journal.deliveries()} == {1}
    assert bench.courier().attempt("pacs", uids(bench), 1) is None


def test_a_pacs_without_commitment_is_asked_by_a_query(analysed, receiver: Receiver):
    pacs = replace(peer(port=receiver.dicom_port, query=True), commitment=True)
    bench: Bench = analysed(peers=(pacs,), delivery=RETRIES)
    assert bench.courier().attempt("pacs", uids(bench), 0) is None
    assert states(bench) == {("proven", "C-FIND (storage commitment is not offered)")}


def test_an_answer_after_a_restart_counts_and_what_is_not_kept_is_sent_again(analysed):
    pacs = Forgetful()
    configured = replace(peer(port=pacs.port), commitment=True)
    bench: Bench = analysed(peers=(configured,), delivery=RETRIES)
    results = uids(bench)
    assert bench.courier().attempt("pacs", results, 0) == 0.5
    assert states(bench) == {("delivered", "")}
    assert bench.courier().attempt("pacs", results, 1) == 1.0
    assert len(pacs.asked) == 1

    bench.restarted()
    note(bench, pacs.asked[0], kept=results[1:], failed=results[:1])
    assert bench.courier().attempt("pacs", results, 2) == 2.0
    assert pacs.stored.count(results[0]) == 1
    waiting = bench.journal.deliveries(state="waiting")
    assert [(d.instance_uid, d.last_error) for d in waiting] == [
        (results[0], "not committed to: reason 0110")
    ]
    assert bench.courier().attempt("pacs", results, 3) == 4.0
    assert [pacs.stored.count(uid) for uid in results] == [2, 1, 1]
    note(bench, pacs.asked[1], kept=results[:1], failed=[])
    assert bench.courier().attempt("pacs", results, 4) is None
    assert states(bench) == {("proven", "storage commitment")}
    pacs.stop()


def test_an_answer_that_leaves_one_out_does_not_prove_it(analysed):
    pacs = Forgetful()
    bench: Bench = analysed(
        peers=(replace(peer(port=pacs.port), commitment=True),), delivery=RETRIES
    )
    results = uids(bench)
    bench.courier().attempt("pacs", results, 0)
    assert (
        bench.parts.transactions.note(Answer(transaction_uid="1.2.3.4", kept=(), failed={}))
        is False
    )  # nobody asked for that
    note(bench, pacs.asked[0], kept=results[1:], failed=[])
    note(bench, pacs.asked[0], kept=results, failed=[])  # said again, otherwise: the first counts
    bench.courier().attempt("pacs", results, 1)
    waiting = bench.journal.deliveries(state="waiting")
    assert [(d.instance_uid, d.last_error) for d in waiting] == [
        (results[0], "not committed to: the answer does not name it")
    ]
    pacs.stop()


def note(bench: Bench, transaction: str, *, kept: list[str], failed: list[str]) -> None:
    def named(uid: str) -> Named:
        return Named(sop_class_uid="1.2", instance_uid=uid)

    bench.parts.transactions.note(
        Answer(
            transaction_uid=transaction,
            kept=tuple(map(named, kept)),
            failed={named(uid): 0x0110 for uid in failed},
        )
    )


def test_without_an_answer_in_time_its_status_is_the_proof_there_is(analysed):
    pacs = Forgetful()
    configured = replace(peer(port=pacs.port), commitment=True)
    bench: Bench = analysed(peers=(configured,), delivery={**RETRIES, "commitment_s": 0.01})
    assert bench.courier().attempt("pacs", uids(bench), 0) is None
    assert states(bench) == {("delivered", "C-STORE status")}
    pacs.stop()
