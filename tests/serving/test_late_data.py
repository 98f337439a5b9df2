"""Data that comes late, again or mixed, through real sockets; no stale result looks current."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_node.delivery import send
from dicom_node.outcome import SendOutcome
from dicom_node.peers import AssociationPolicy, Peer
from dicom_node.scp import Listening, Node
from imaging.identity import ae_title
from scripts.receiver import Receiver
from serving.records import Delivery, Result
from serving.study_view import StudyViews
from tests.dicom_node.rig import OURS, free_port, save
from tests.serving.bench import Bench, ball, mr, peer
from tests.serving.test_courier import RETRIES, receiver

__all__ = ["receiver"]
# pynetdicom leaves a socket that could not connect to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SLICES = mr((8, 16, 16))


class Site:
    """An installation with a listening node, and a PACS that may be away."""

    def __init__(self, bench: Bench, folder: Path, pacs: Peer) -> None:
        bench.install()
        self.bench, self.pacs, self._folder = bench, pacs, folder
        self.node = Node(
            bench.parts.ingest,
            AssociationPolicy(ae_title=OURS),
            lambda _: None,
            listening=Listening(host="127.0.0.1", port=0),
        )
        self.node.start()
        self.study_uid = str(SLICES[0].StudyInstanceUID)

    def send(self, images: Sequence[Dataset], *, sender: str = "MR1") -> SendOutcome:
        us = Peer(name="us", ae_title=OURS, host="127.0.0.1", port=self.node.port)
        paths = save(self._folder / "sent" / sender, *images)
        return send(us, paths, ae_title=ae_title(sender))

    def analyse(self) -> list[str]:
        """Analyse what is here; return the UIDs of the results."""
        ticket = self.bench.ticket(self.study_uid)
        self.bench.run(ticket)
        found = self.bench.journal.results(workitem_uid=ticket["workitem_uid"])
        return sorted(r.instance_uid for r in found)

    def deliver(self, results: list[str]) -> float | None:
        return self.bench.courier().attempt("pacs", results, 0)

    def back(self) -> None:
        """Let the PACS be where it is expected."""
        self.bench.restarted(peers=(self.pacs,))

    def items(self, results: Sequence[str]) -> list[Delivery]:
        return [d for d in self.bench.journal.deliveries() if d.instance_uid in results]

    def states(self, results: Sequence[str]) -> set[str]:
        return {item.state for item in self.items(results)}

    def standing(self) -> dict[str, str]:
        """Return the standing of every result, as REST shows it."""
        views = StudyViews(self.bench.index, self.bench.journal)
        return {r.instance_uid: r.standing for r in views.detail(self.study_uid).results}

    def note(self) -> Result:
        (found,) = (r for r in self.bench.journal.results() if r.kind == "REJECTION")
        return found


@pytest.fixture
def site(make: Callable[..., Bench], tmp_path: Path, receiver: Receiver) -> Iterator[Site]:
    pacs = replace(peer(port=receiver.dicom_port, query=True), withdraw=True)
    made = Site(make(peers=(pacs,), delivery=RETRIES), tmp_path, pacs)
    yield made
    made.node.stop()


def rejected(ds: Dataset) -> set[str]:
    return {
        item.ReferencedSOPInstanceUID
        for study in ds.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }


def test_late_slices_replace_what_was_delivered_and_withdraw_it(site: Site, receiver: Receiver):
    site.send(SLICES[:5])
    first = site.analyse()
    assert site.deliver(first) is None
    assert set(site.standing().values()) == {"current"}

    site.send(SLICES[5:])
    assert set(site.standing().values()) == {"outdated"}
    second = site.analyse()
    assert not set(first) & set(second)
    assert {uid: s for uid, s in site.standing().items() if uid in first} == dict.fromkeys(
        first, "superseded"
    )
    assert receiver.instances(site.study_uid) == set(first)
    assert site.deliver(second) is None
    note = site.note()
    assert receiver.instances(site.study_uid) == {*first, *second, note.instance_uid}
    ds = site.bench.dataset(note)
    assert rejected(ds) == set(first)
    assert {d.withdrawn_by for d in site.items(first)} == {note.instance_uid}
    assert site.states([note.instance_uid]) == {"proven"}
    sr = next(r for r in site.bench.results(site.study_uid).values() if r.kind == "SR")
    (study,) = site.bench.dataset(sr).PredecessorDocumentsSequence
    assert (
        study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID in first
    )

    # Whatever is repeated changes nothing.
    assert site.deliver(second) is None
    assert site.deliver(first) is None
    assert len(receiver.instances(site.study_uid)) == 7


def test_nothing_is_withdrawn_before_its_successor_is_proven(site: Site, receiver: Receiver):
    site.send(SLICES[:5])
    first = site.analyse()
    site.deliver(first)
    site.send(SLICES[5:])
    second = site.analyse()
    site.bench.restarted(peers=(replace(site.pacs, port=free_port()),))
    assert site.deliver(second) == 0.5
    assert {r.kind for r in site.bench.journal.results()} == {"SEG", "SR", "KEY_IMAGE"}
    site.back()
    assert site.deliver(second) is None
    assert rejected(site.bench.dataset(site.note())) == set(first)


def test_a_destination_that_takes_no_notes_gets_none(site: Site, receiver: Receiver):
    site.bench.restarted(peers=(replace(site.pacs, withdraw=False),))
    site.send(SLICES[:5])
    site.deliver(site.analyse())
    site.send(SLICES[5:])
    assert site.deliver(site.analyse()) is None
    assert len(receiver.instances(site.study_uid)) == 6


def test_what_waits_when_newer_slices_come_is_held_and_never_sent(site: Site, receiver: Receiver):
    site.bench.restarted(peers=(replace(site.pacs, port=free_port()),))
    site.send(SLICES[:5])
    first = site.analyse()
    assert site.deliver(first) == 0.5
    site.send(SLICES[5:])
    site.back()
    assert site.deliver(first) == 0.5
    assert site.states(first) == {"held"}
    assert {item.last_error for item in site.items(first)} == {
        "newer images of the series came after the analysis; it is being repeated (OUTDATED)"
    }
    second = site.analyse()
    assert site.states(first) == {"superseded"}
    assert site.deliver(first) is None
    assert site.deliver(second) is None
    assert receiver.instances(site.study_uid) == set(second)


def test_another_series_of_the_study_holds_up_no_result(site: Site, receiver: Receiver):
    site.send(SLICES)
    first = site.analyse()
    other = mr((8, 16, 16))
    for image in other:
        image.SeriesInstanceUID = f"{image.SeriesInstanceUID}.2"
        image.SOPInstanceUID = f"{image.SOPInstanceUID}.2"
    site.send(other)
    assert site.deliver(first) is None
    assert receiver.instances(site.study_uid) == set(first)


def test_an_outdated_result_goes_when_a_person_releases_it(site: Site, receiver: Receiver):
    site.send(SLICES[:5])
    first = site.analyse()
    site.send(SLICES[5:])
    assert site.deliver(first) == 0.5
    site.bench.courier().start_over("pacs", first)
    assert site.deliver(first) is None
    assert receiver.instances(site.study_uid) == set(first)


def test_a_delivery_that_ends_after_its_successor_is_withdrawn_too(site: Site, receiver: Receiver):
    site.send(SLICES[:5])
    first = site.analyse()
    site.send(SLICES[5:])
    second = site.analyse()
    site.deliver(second)
    # It was on its way when it was replaced.
    site.bench.journal.update_deliveries(first, "pacs", "proven", proof="C-FIND")
    assert site.deliver(first) is None
    assert rejected(site.bench.dataset(site.note())) == set(first)


def test_a_third_analysis_withdraws_the_second_only(site: Site, receiver: Receiver):
    site.send(SLICES[:4])
    site.deliver(site.analyse())
    site.send(SLICES[4:6])
    second = site.analyse()
    site.deliver(second)
    first_note = site.note().instance_uid
    site.send(SLICES[6:])
    site.deliver(site.analyse())
    notes = [r for r in site.bench.journal.results() if r.kind == "REJECTION"]
    (newest,) = (n for n in notes if n.instance_uid != first_note)
    assert rejected(site.bench.dataset(newest)) == set(second)
    assert receiver.instances(site.study_uid) >= {first_note, newest.instance_uid}


def test_a_study_that_is_sent_again_whole_changes_nothing(site: Site, receiver: Receiver):
    site.send(SLICES)
    first = site.analyse()
    site.deliver(first)
    digest = site.bench.index.content_digest(site.study_uid)
    assert site.send(SLICES, sender="ARCHIVE").text == ""
    assert site.bench.index.content_digest(site.study_uid) == digest
    assert set(site.standing().values()) == {"current"}
    assert site.analyse() == first
    assert site.deliver(first) is None
    assert receiver.instances(site.study_uid) == set(first)


def test_other_bytes_under_a_uid_are_refused_and_shown_and_change_no_result(site: Site):
    site.send(SLICES)
    first = site.analyse()
    other = mr((8, 16, 16), StudyDescription="another")
    outcome = site.send(other)
    assert set(outcome.statuses.values()) == {0x0111}
    assert site.analyse() == first
    aside = StudyViews(site.bench.index, site.bench.journal).detail(site.study_uid).set_aside
    assert {item.code for item in aside} == {"CONFLICT"}
    assert len(aside) == len(SLICES)


def test_several_senders_at_once_make_one_study(site: Site):
    outcomes: list[SendOutcome] = []

    def sends(number: int) -> None:
        # An association for each image, interleaved.
        outcomes.extend(site.send([image], sender=f"MR{number}") for image in SLICES[number::3])

    threads = [threading.Thread(target=sends, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {outcome.text for outcome in outcomes} == {""}
    results = site.analyse()
    (seg,) = (r for r in site.bench.journal.results() if r.kind == "SEG")
    assert site.bench.dataset(seg).NumberOfFrames == ball((8, 16, 16)).any(axis=(1, 2)).sum()
    assert len(results) == 3
