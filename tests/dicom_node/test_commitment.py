"""Storage commitment in both roles, with Orthanc and with ourselves as the other side."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.archive import Archive
from dicom_node.commitment import Named
from dicom_node.commitment_scp import CommitmentProvider
from dicom_node.commitment_scu import Requester
from dicom_node.delivery import send
from dicom_node.index import Index
from dicom_node.ingest import Ingest
from dicom_node.peers import AssociationPolicy, Peer
from dicom_node.scp import Listening, Node
from dicom_node.scu import Timeouts
from dicom_node.transactions import Transactions
from imaging.identity import ae_title
from scripts.loopback import get_json, post_json
from tests.dicom_node.rig import OURS, free_port, image, save, store, wait_for

SOON = Timeouts(connect_s=3, reply_s=10)
Start = Callable[..., CommitmentProvider]


def named(number: int = 1) -> Named:
    ds = image(number)
    return Named(sop_class_uid=ds.SOPClassUID, instance_uid=ds.SOPInstanceUID)


@pytest.fixture
def transactions(index: Index) -> Transactions:
    return Transactions(index.engine, time.time)


@pytest.fixture
def provider(
    ingest: Ingest, index: Index, archive: Archive, transactions: Transactions
) -> Iterator[Start]:
    """Return what starts a node that offers storage commitment to peers."""
    stops: list[Callable[[], None]] = []

    def started(*peers: Peer, port: int) -> CommitmentProvider:
        policy = AssociationPolicy(ae_title=OURS, peers=peers, check_called=False)
        made = CommitmentProvider(index, archive, transactions, policy=policy, timeouts=SOON)
        node = Node(
            ingest,
            policy,
            lambda _: None,
            listening=Listening(host="127.0.0.1", port=port),
            services=made.handlers(),
        )
        node.start()
        made.start()
        stops.extend((made.stop, node.stop))
        return made

    yield started
    for stop in stops:
        stop()


def us(port: int, **changes: object) -> Peer:
    return replace(Peer(name="us", ae_title=OURS, host="127.0.0.1", port=port), **changes)


def test_a_pacs_commits_to_what_it_has_on_an_association_of_its_own(
    orthanc: Peer, our_port: int, provider: Start, transactions: Transactions, tmp_path: Path
) -> None:
    provider(orthanc, port=our_port)
    send(orthanc, save(tmp_path / "out", image(1)), ae_title=OURS)
    requester = Requester(transactions, ae_title=OURS, timeouts=SOON)
    taken = requester.ask(orthanc, [named(1), named(2)], wait_s=20)
    assert (taken.problem, taken.offered) == ("", True)
    wait_for(lambda: transactions.asked(taken.transaction_uid).answered_at)
    assert transactions.asked(taken.transaction_uid).failed == {named(2).instance_uid: 0x0112}


def test_a_modality_learns_what_we_hold(
    orthanc: Peer, orthanc_http: int, our_port: int, provider: Start, ingest: Ingest
) -> None:
    provider(orthanc, port=our_port)
    store(ingest, image(1))
    wanted = [[named(n).sop_class_uid, named(n).instance_uid] for n in (1, 2)]
    wait_for(lambda: _answers(orthanc_http))
    asked = post_json(
        orthanc_http, "/modalities/wetread/storage-commitment", {"DicomInstances": wanted}
    )
    path = f"/storage-commitment/{asked['ID']}"
    wait_for(lambda: get_json(orthanc_http, path)["Status"] != "Pending", seconds=30)
    report = get_json(orthanc_http, path)
    assert report["Status"] == "Failure"
    assert [each["SOPInstanceUID"] for each in report["Success"]] == [named(1).instance_uid]
    assert [each["FailureReason"] for each in report["Failures"]] == [0x0112]


def _answers(port: int) -> bool:
    try:
        return bool(get_json(port, "/system"))
    except OSError:
        return False


def test_an_open_association_gets_the_answer_itself(
    provider: Start, transactions: Transactions, ingest: Ingest
) -> None:
    """The requester has only a network for an address: nobody could call it."""
    port = free_port()
    provider(us(1, host="127.0.0.0/8"), port=port)
    store(ingest, image(1))
    taken = Requester(transactions, ae_title=OURS, timeouts=SOON).ask(
        us(port), [named(1)], wait_s=20
    )
    assert taken.problem == ""
    assert transactions.asked(taken.transaction_uid).answered_at
    assert transactions.asked(taken.transaction_uid).failed == {}


def test_bytes_that_are_gone_or_of_another_class_are_not_committed_to(
    provider: Start, transactions: Transactions, ingest: Ingest, index: Index, archive: Archive
) -> None:
    made = provider(port=free_port())
    for number in (1, 2, 3):
        store(ingest, image(number))
    archive.file(index.instance(named(2).instance_uid).path).write_bytes(b"short")
    other = Named(sop_class_uid="1.2.840.10008.5.1.4.1.1.4", instance_uid=named(3).instance_uid)
    transactions.receive("1.2.3", [named(1), named(2), other], calling_ae="CT", address="10.0.0.1")
    (request,) = transactions.due()
    answer = made.answer(request)
    assert answer.kept == (named(1),)
    assert answer.failed == {named(2): 0x0112, other: 0x0119}


def test_who_may_not_ask_is_told_so(provider: Start, transactions: Transactions) -> None:
    port = free_port()
    provider(us(1, may_commit=False), port=port)
    requester = Requester(transactions, ae_title=OURS, timeouts=SOON)
    assert requester.ask(us(port), [named()], wait_s=0).problem == "N-ACTION status 0124"
    assert not transactions.due()


def test_an_answer_survives_restarts_and_a_requester_that_is_away(
    provider: Start, transactions: Transactions, ingest: Ingest
) -> None:
    """It was asked by an earlier process of ours, and the requester listens only later."""
    port = free_port()
    store(ingest, image(1))
    transactions.ask("1.2.9", "us")
    transactions.receive("1.2.9", [named()], calling_ae=OURS, address="127.0.0.1")
    (request,) = transactions.due()
    transactions.told(request, "the requester is away", retry_in_s=0)
    assert transactions.asked("1.2.9").answered_at is None
    provider(us(port), port=port)
    wait_for(lambda: transactions.asked("1.2.9").answered_at, seconds=20)
    wait_for(lambda: not transactions.due())


# pynetdicom leaves a socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_peer_that_is_down_may_yet_offer_it(transactions: Transactions) -> None:
    nobody = Peer(name="x", ae_title=ae_title("X"), host="127.0.0.1", port=free_port())
    requester = Requester(transactions, ae_title=OURS, timeouts=SOON)
    taken = requester.ask(nobody, [named()], wait_s=0)
    assert (taken.offered, "cannot be reached" in taken.problem) == (True, True)
