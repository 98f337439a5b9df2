import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pydicom.uid import (
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    SegmentationStorage,
)

from dicom_node.archive import Encoded
from dicom_node.arrival import Arrival, ArrivalSettings, CompleteStudy
from dicom_node.asking import NoAnswerError, SeriesCounts
from dicom_node.delivery import send
from dicom_node.index import Index
from dicom_node.ingest import Ingest
from dicom_node.peers import AssociationPolicy, Peer
from dicom_node.records import StudyRow
from imaging.errors import SetupError
from imaging.identity import ae_title, derived_uid
from tests.dicom_node.rig import OURS, dataset_of, image, part10, save, store, wait_for

STUDY, SERIES = derived_uid("study"), derived_uid("study", "series")


class Bench:
    """An arrival with a clock that is set by hand and an answer that may be changed."""

    def __init__(
        self, index: Index, ask: Callable[[StudyRow], Mapping[str, int] | None] | None = None
    ) -> None:
        self.answer: Mapping[str, int] | None = None
        self.asked, self.after = 0, 0.0
        self.complete: list[CompleteStudy] = []
        self.resent: list[list[str]] = []
        self._index = index
        self.arrival = Arrival(
            index,
            ask or self._ask,
            self.complete.append,
            resend=lambda _, series: self.resent.append(list(series)),
            settings=ArrivalSettings(),
            clock=lambda: index.study(STUDY).last_received_at + self.after,
        )

    def _ask(self, _study: StudyRow) -> Mapping[str, int] | None:
        self.asked += 1
        return self.answer

    def at(self, seconds: float) -> list[str]:
        """Look once, this long after the last instance."""
        self.after = seconds
        self.arrival.step()
        return [study.completeness for study in self.complete]


def test_equal_counts_complete_a_study_at_once(ingest: Ingest, index: Index) -> None:
    bench = Bench(index)
    store(ingest, image(1))
    bench.answer = {SERIES: 1}
    assert bench.at(0.1) == []  # nobody has released yet
    bench.arrival.wake([STUDY])
    assert bench.at(0.2) == ["confirmed"]
    study = index.study(STUDY)
    assert (study.state, study.completeness) == ("complete", "confirmed")
    assert study.content_digest == bench.complete[0].content_digest
    assert bench.at(100) == ["confirmed"]  # told once


def test_missing_images_are_waited_for_then_named(ingest: Ingest, index: Index) -> None:
    bench = Bench(index)
    store(ingest, image(1))
    bench.answer = {SERIES: 3, "1.2.3": 2}
    assert bench.at(5) == bench.at(1000) == []
    assert bench.at(1801) == ["limit"]
    assert bench.complete[0].short == {SERIES: (1, 3), "1.2.3": (0, 2)}
    assert "1 of 3" in bench.complete[0].text


def test_series_that_never_came_are_not_waited_for(ingest: Ingest, index: Index) -> None:
    """The sender may forward some series only; what is there is whole."""
    bench = Bench(index)
    store(ingest, image(1))
    bench.answer = {SERIES: 1, "1.2.3": 40, "1.2.4": 2}
    assert bench.at(9) == []
    assert bench.at(11) == ["confirmed"]
    assert bench.complete[0].short == {}
    assert "2 other series were not sent" in bench.complete[0].text
    assert bench.resent == []
    store(ingest, image(1, series="late"))
    assert index.study(STUDY).state == "receiving"


def test_what_stopped_in_the_middle_is_asked_for_again(ingest: Ingest, index: Index) -> None:
    bench = Bench(index)
    store(ingest, image(1))
    store(ingest, image(1, series="whole"))
    bench.answer = {SERIES: 3, derived_uid("study", "whole"): 1, "1.2.3": 40}
    assert bench.at(9) == []
    assert bench.resent == []
    assert bench.at(11) == []
    assert bench.resent == [[SERIES]]
    for second in range(12, 200, 4):
        bench.at(second)
    assert len(bench.resent) == 5  # ever less often
    store(ingest, image(2))
    store(ingest, image(3))
    assert bench.at(11) == ["confirmed"]
    assert len(bench.resent) == 5


@pytest.mark.parametrize(
    ("sop_class_uid", "modality"),
    [
        (SegmentationStorage, "SEG"),
        ("1.2.840.10008.5.1.4.1.1.66.7", "SEG"),
        (ComprehensiveSRStorage, "SR"),
        (EnhancedSRStorage, "SR"),
        (KeyObjectSelectionDocumentStorage, "KO"),
        (GrayscaleSoftcopyPresentationStateStorage, "PR"),
    ],
)
def test_what_readers_save_into_a_complete_study_completes_it_no_second_time(
    ingest: Ingest, index: Index, sop_class_uid: str, modality: str
) -> None:
    bench = Bench(index)
    store(ingest, image(1))
    assert bench.at(11) == ["quiet"]
    digest = index.content_digest(STUDY)
    store(ingest, image(1, series="saved", SOPClassUID=sop_class_uid, Modality=modality))
    assert index.study(STUDY).state == "complete"
    assert bench.at(100) == ["quiet"]
    assert index.content_digest(STUDY) == digest
    store(ingest, image(2))
    assert bench.at(11) == ["quiet", "quiet"]
    assert bench.complete[-1].content_digest != digest


def test_a_study_of_reports_alone_is_complete_once_and_again_with_its_images(
    ingest: Ingest, index: Index
) -> None:
    bench = Bench(index)
    store(ingest, image(1, series="dose", SOPClassUID=ComprehensiveSRStorage, Modality="SR"))
    assert bench.at(11) == ["quiet"]
    store(ingest, image(1))
    assert bench.at(11) == ["quiet", "quiet"]
    assert len({study.content_digest for study in bench.complete}) == 2


def test_a_new_image_puts_off_asking_again(ingest: Ingest, index: Index) -> None:
    bench = Bench(index)
    bench.answer = {SERIES: 3}
    for number in (1, 2):
        store(ingest, image(number))
        bench.at(9)
    assert bench.resent == []
    assert bench.at(11) == []
    assert bench.resent == [[SERIES]]


def test_without_an_answer_nothing_is_asked_for_again(ingest: Ingest, index: Index) -> None:
    bench = Bench(index)
    store(ingest, image(1))
    assert bench.at(11) == ["quiet"]
    assert bench.resent == []


def test_a_pacs_that_answered_once_is_not_forgotten(ingest: Ingest, index: Index) -> None:
    bench = Bench(index)
    store(ingest, image(1))
    bench.answer = {SERIES: 2}
    assert bench.at(3) == []
    bench.answer = None
    assert bench.at(60) == []


def test_without_an_answer_quiet_decides(ingest: Ingest, index: Index) -> None:
    bench = Bench(index)
    store(ingest, image(1))
    assert bench.at(9) == []
    assert bench.at(11) == ["quiet"]
    assert index.study(STUDY).completeness == "quiet"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_pacs_that_is_away_is_waited_for(ingest: Ingest, index: Index) -> None:
    """Its images wait with it: after an outage it may still have some to send."""
    away = Peer(name="pacs", ae_title=ae_title("PACS"), host="127.0.0.1", port=1, query=True)
    asks = SeriesCounts(AssociationPolicy(ae_title=OURS, peers=(away,)), lambda: 0.0)
    bench = Bench(index, asks)
    store(ingest, image(1))
    assert bench.at(3) == bench.at(11) == bench.at(119) == []
    assert bench.at(121) == ["quiet"]
    assert "nothing new for 120 s" in bench.complete[0].text


def test_a_pacs_that_is_back_decides(ingest: Ingest, index: Index) -> None:
    answers: list[Mapping[str, int] | None] = [None, {SERIES: 2}]

    def ask(_study: StudyRow) -> Mapping[str, int] | None:
        answer = answers.pop(0)
        if answer is None:
            raise NoAnswerError
        return answer

    bench = Bench(index, ask)
    store(ingest, image(1))
    assert bench.at(3) == bench.at(150) == []  # it counts one more
    assert bench.resent == [[SERIES]]


def test_the_pacs_is_asked_ever_less_often(ingest: Ingest, index: Index) -> None:
    bench = Bench(index)
    store(ingest, image(1))
    bench.answer = {SERIES: 2}
    for second in range(120):
        bench.at(second)
    assert 5 <= bench.asked <= 8


def test_a_late_image_opens_the_study_again_a_duplicate_does_not(
    ingest: Ingest, index: Index
) -> None:
    bench = Bench(index)
    store(ingest, image(1))
    bench.at(11)
    store(ingest, image(1))
    assert index.study(STUDY).state == "complete"
    store(ingest, image(2))
    assert index.study(STUDY).state == "receiving"
    assert bench.at(11) == ["quiet", "quiet"]
    assert len({study.content_digest for study in bench.complete}) == 2


def test_an_image_that_comes_while_completing_is_not_lost(ingest: Ingest, index: Index) -> None:
    store(ingest, image(1))
    seen: list[CompleteStudy] = []

    def meanwhile(study: CompleteStudy) -> None:
        seen.append(study)
        if len(seen) == 1:
            store(ingest, image(2))

    arrival = Arrival(
        index, lambda _: {SERIES: 1}, meanwhile, settings=ArrivalSettings(), clock=lambda: 1e12
    )
    arrival.step()
    assert index.study(STUDY).state == "receiving"
    arrival.step()
    assert index.study(STUDY).state == "complete"
    assert len({study.content_digest for study in seen}) == 2


def test_a_study_may_be_put_off(ingest: Ingest, index: Index) -> None:
    store(ingest, image(1))
    answers = [False, False, True]
    arrival = Arrival(
        index,
        lambda _: {SERIES: 1},
        lambda _: answers.pop(0),
        settings=ArrivalSettings(),
        clock=lambda: 1e12,
    )
    for state in ("receiving", "receiving", "complete", "complete"):
        arrival.step()
        assert index.study(STUDY).state == state


def test_a_failing_receiver_is_told_again(ingest: Ingest, index: Index) -> None:
    store(ingest, image(1))
    calls, now = [], [1e12]

    def failing(study: CompleteStudy) -> None:
        calls.append(study)
        if len(calls) == 1:
            raise SetupError

    arrival = Arrival(
        index, lambda _: {SERIES: 1}, failing, settings=ArrivalSettings(), clock=lambda: now[0]
    )
    arrival.step()
    arrival.step()
    assert (len(calls), index.study(STUDY).state) == (1, "receiving")
    now[0] += 6
    arrival.step()
    assert (len(calls), index.study(STUDY).state) == (2, "complete")


def test_series_that_we_made_are_not_expected_from_the_pacs(ingest: Ingest, index: Index) -> None:
    store(ingest, image(1))
    made = image(series="ours")
    encoded = Encoded(
        dataset=dataset_of(part10(made)),
        sop_class_uid=made.SOPClassUID,
        instance_uid=made.SOPInstanceUID,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )
    ingest.store_result(encoded, made_by="WETREAD")
    bench = Bench(index)
    bench.answer = {SERIES: 1, made.SeriesInstanceUID: 4}
    assert bench.at(3) == ["confirmed"]


def test_a_real_pacs_is_asked(orthanc: Peer, ingest: Ingest, index: Index, tmp_path: Path) -> None:
    send(orthanc, save(tmp_path / "out", image(1), image(2)), ae_title=OURS)
    policy = AssociationPolicy(ae_title=OURS, peers=(orthanc,))
    bench = Bench(index, SeriesCounts(policy, lambda: 0.0))
    store(ingest, image(1), calling_ae=orthanc.ae_title)
    assert bench.at(11) == []
    store(ingest, image(2), calling_ae=orthanc.ae_title)
    assert bench.at(3) == ["confirmed"]


def test_the_thread_takes_up_what_was_receiving_before_a_restart(
    ingest: Ingest, index: Index
) -> None:
    store(ingest, image(1))
    done = threading.Event()
    arrival = Arrival(
        index,
        lambda _: {SERIES: 1},
        lambda _: done.set(),
        settings=ArrivalSettings(poll_s=0.05),
        clock=lambda: 1e12,
    )
    arrival.start()
    assert arrival.alive
    assert done.wait(5)
    wait_for(lambda: index.study(STUDY).state == "complete")
    arrival.stop()
    assert not arrival.alive


@pytest.mark.parametrize("sender", ["PACS", "CT99"])
def test_the_sender_is_asked_first(sender: str) -> None:
    peers = tuple(
        Peer(name=name, ae_title=ae_title(name), host="127.0.0.1", port=1, query=True)
        for name in ("CT99", "PACS")
    )
    policy = AssociationPolicy(ae_title=OURS, peers=peers)
    assert next(peer.name for peer in policy.answering(sender, "127.0.0.1")) == sender
