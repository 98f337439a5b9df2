from pathlib import Path

import pytest

from dicom_node.delivery import proof, send
from dicom_node.peers import Peer
from dicom_node.scu import Timeouts, echo, series_counts, stored_instances
from imaging.findings import ObjectRef
from imaging.identity import ae_title, derived_uid
from tests.dicom_node.rig import OURS, Running, free_port, image, save

STUDY, SERIES = derived_uid("study"), derived_uid("study", "series")
SOON = Timeouts(connect_s=1, reply_s=5)


def refs(*numbers: int) -> list[ObjectRef]:
    return [
        ObjectRef(
            sop_class_uid=ds.SOPClassUID,
            instance_uid=ds.SOPInstanceUID,
            series_uid=ds.SeriesInstanceUID,
            study_uid=ds.StudyInstanceUID,
        )
        for ds in map(image, numbers)
    ]


def test_a_pacs_takes_what_is_sent_and_proves_it(orthanc: Peer, tmp_path: Path) -> None:
    assert echo(orthanc, ae_title=OURS) is None
    assert proof(orthanc, refs(1, 2), ae_title=OURS) == frozenset()
    outcome = send(orthanc, save(tmp_path / "out", image(1), image(2)), ae_title=OURS)
    assert (outcome.text, outcome.refused) == ("", frozenset())
    assert set(outcome.statuses.values()) == {0}
    sent = {ref.instance_uid for ref in refs(1, 2)}
    assert proof(orthanc, refs(1, 2, 3), ae_title=OURS) == sent
    assert stored_instances(orthanc, [(STUDY, SERIES)], ae_title=OURS) == sent
    assert series_counts(orthanc, STUDY, ae_title=OURS) == {SERIES: 2}
    assert series_counts(orthanc, derived_uid("unknown"), ae_title=OURS) == {}


# pynetdicom leaves a socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_peer_that_is_down_is_a_reason_to_try_again(tmp_path: Path) -> None:
    nobody = Peer(name="x", ae_title=ae_title("X"), host="127.0.0.1", port=free_port(), query=True)
    outcome = send(nobody, save(tmp_path / "out", image()), ae_title=OURS, timeouts=SOON)
    assert (outcome.statuses, outcome.refused) == ({}, frozenset())
    assert "cannot be reached" in outcome.text
    assert proof(nobody, refs(1), ae_title=OURS, timeouts=SOON) == frozenset()
    assert series_counts(nobody, STUDY, ae_title=OURS, timeouts=SOON) is None
    assert echo(nobody, ae_title=OURS, timeouts=SOON) is not None


def test_what_is_refused_for_what_it_is_need_not_be_tried_again(
    running: Running, tmp_path: Path
) -> None:
    us = Peer(name="us", ae_title=OURS, host="127.0.0.1", port=running.port)
    short = image(1, Rows=17)
    outcome = send(us, save(tmp_path / "out", short, image(2)), ae_title=OURS)
    assert list(outcome.statuses.values()) == [0xC000, 0]
    assert outcome.refused == {short.SOPInstanceUID}
    assert outcome.text == "1 of 2 not stored: status C000"


def test_an_unknown_sop_class_is_refused_by_the_peer(running: Running, tmp_path: Path) -> None:
    us = Peer(name="us", ae_title=OURS, host="127.0.0.1", port=running.port)
    odd = image(SOPClassUID="1.2.840.99999.1")
    outcome = send(us, save(tmp_path / "out", odd), ae_title=OURS)
    assert outcome.refused == {odd.SOPInstanceUID}
    assert outcome.words(odd.SOPInstanceUID).endswith("does not take this kind of object)")
