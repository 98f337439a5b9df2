import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.arrival import Arrival, ArrivalSettings, CompleteStudy
from dicom_node.asking import SeriesCounts
from dicom_node.delivery import send
from dicom_node.index import Index
from dicom_node.ingest import Ingest
from dicom_node.peers import AssociationPolicy, Peer
from dicom_node.retrieving import Retriever
from dicom_node.scu import Timeouts, move_series
from imaging.identity import ae_title, derived_uid
from tests.dicom_node.rig import OURS, Running, free_port, image, save, store, wait_for

STUDY, SERIES = derived_uid("study"), derived_uid("study", "series")
SOON = Timeouts(connect_s=1, reply_s=5)
# pynetdicom leaves a socket that could not connect to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def pacs(orthanc: Peer, tmp_path: Path) -> Peer:
    """A PACS with two series of three images."""
    images = [image(n, series=series) for series in ("series", "other") for n in (1, 2, 3)]
    assert send(orthanc, save(tmp_path / "out", *images), ae_title=OURS).text == ""
    return orthanc


def retrieving() -> bool:
    return any(thread.name == "retrieve" for thread in threading.enumerate())


def test_a_series_is_sent_again(
    pacs: Peer, start: Callable[..., Running], our_port: int, index: Index
) -> None:
    start(AssociationPolicy(ae_title=OURS, peers=(pacs,)), port=our_port)
    assert move_series(pacs, STUDY, SERIES, ae_title=OURS) is None
    assert index.received_counts(STUDY) == {SERIES: 3}
    assert index.study(STUDY).sender == pacs.ae_title


def test_what_goes_wrong_is_told(pacs: Peer, tmp_path: Path) -> None:
    # Nobody listens where the PACS should send to, or it does not know who asks.
    assert "C-MOVE status" in str(move_series(pacs, STUDY, SERIES, ae_title=OURS))
    stranger = ae_title("STRANGER")
    assert move_series(pacs, STUDY, SERIES, ae_title=stranger) is not None
    nobody = replace(pacs, port=free_port())
    text = move_series(nobody, STUDY, SERIES, ae_title=OURS, timeouts=SOON)
    assert "cannot be reached" in str(text)


def test_a_node_without_query_offers_no_move(running: Running) -> None:
    us = Peer(name="us", ae_title=OURS, host="127.0.0.1", port=running.port)
    assert move_series(us, STUDY, SERIES, ae_title=OURS) is not None


def test_an_interrupted_study_becomes_whole(
    pacs: Peer, start: Callable[..., Running], our_port: int, ingest: Ingest, index: Index
) -> None:
    """One of three images came; the rest is asked for, and nothing of the other series."""
    policy = AssociationPolicy(ae_title=OURS, peers=(pacs,))
    start(policy, port=our_port)
    store(ingest, image(1), calling_ae=pacs.ae_title)
    complete: list[CompleteStudy] = []
    arrival = Arrival(
        index,
        SeriesCounts(policy, time.time),
        complete.append,
        resend=Retriever(policy),
        settings=ArrivalSettings(quiet_s=0.3, settle_s=0.1, poll_s=0.05),
        clock=time.time,
    )
    arrival.start()
    wait_for(lambda: complete, seconds=20)
    arrival.stop()
    assert index.received_counts(STUDY) == {SERIES: 3}
    assert (complete[0].completeness, complete[0].short) == ("confirmed", {})
    assert "1 other series" in complete[0].text


def test_the_next_peer_is_asked_when_the_first_fails(
    pacs: Peer, start: Callable[..., Running], our_port: int, ingest: Ingest, index: Index
) -> None:
    down = Peer(
        name="down", ae_title=ae_title("DOWN"), host="127.0.0.1", port=free_port(), query=True
    )
    policy = AssociationPolicy(ae_title=OURS, peers=(down, pacs))
    start(policy, port=our_port)
    store(ingest, image(1), calling_ae="DOWN")
    ask = Retriever(policy, timeouts=SOON)
    for _ in range(3):  # while one request runs, another is not made
        ask(index.study(STUDY), [SERIES])
    assert sum(thread.name == "retrieve" for thread in threading.enumerate()) == 1
    wait_for(lambda: index.received_counts(STUDY) == {SERIES: 3})
    wait_for(lambda: not retrieving())


def test_a_study_can_be_asked_for_again_when_all_failed(ingest: Ingest, index: Index) -> None:
    down = Peer(
        name="down", ae_title=ae_title("DOWN"), host="127.0.0.1", port=free_port(), query=True
    )
    store(ingest, image(1))
    ask = Retriever(AssociationPolicy(ae_title=OURS, peers=(down,)), timeouts=SOON)
    for _ in range(2):
        ask(index.study(STUDY), [SERIES])
        assert retrieving()
        wait_for(lambda: not retrieving())
