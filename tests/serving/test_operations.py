from dataclasses import replace

import pytest

from dicom_node.arrival import CompleteStudy
from dicom_node.records import Completion
from dicom_node.routing import Rule
from imaging.errors import Conflict, NotFound
from imaging.reasons import Reason
from serving.operations import Operations
from serving.worker import close_given_up
from tests.serving.bench import Bench, ct, mr


def complete(bench: Bench, study_uid: str, **changes) -> CompleteStudy:
    """Close a study as its arrival does."""
    digest = bench.index.content_digest(study_uid)
    found = CompleteStudy(
        **{
            "study_uid": study_uid,
            "content_digest": digest,
            "completeness": "confirmed",
            "text": "the PACS counts the same instances",
            "short": {},
            **changes,
        }
    )
    assert bench.parts.operations.schedule(found)
    bench.index.mark_complete(
        Completion(
            study_uid=study_uid,
            received=bench.index.study(study_uid).received,
            completeness=found.completeness,
            text=found.text,
            content_digest=digest,
            at=1.0,
        )
    )
    return found


@pytest.fixture
def operations(empty: Bench) -> Operations:
    return empty.parts.operations


def status(bench: Bench, workitem_uid: str) -> str:
    return bench.parts.client.find(workitem_uid).status


def test_a_complete_study_is_scheduled_once(empty: Bench, operations: Operations):
    study = empty.receive(mr())
    found = complete(empty, study)
    operations.schedule(found)
    (item,) = empty.journal.workitems()
    assert (item.study_uid, item.state, item.content_digest) == (
        study,
        "SCHEDULED",
        found.content_digest,
    )
    assert status(empty, item.workitem_uid) == "ENQUEUED"


def test_a_new_content_is_a_new_workitem_after_the_first(empty: Bench, operations: Operations):
    images = mr((6, 16, 16))
    study = empty.receive(images[:4])
    found = complete(empty, study)
    empty.receive(images[4:])
    # Two at once might end in the wrong order, and the older result would look current.
    late = replace(found, content_digest=empty.index.content_digest(study))
    assert not operations.schedule(late)
    empty.journal.end(empty.workitem(study).workitem_uid, "COMPLETED", None)
    complete(empty, study)
    assert len(empty.journal.workitems(study_uid=study)) == 2


def test_an_analysis_that_was_noted_and_never_started_is_closed(empty: Bench):
    """The node was killed between the two, and more images came before it was back."""
    images = mr((6, 16, 16))
    study = empty.receive(images[:4])
    lost = empty.ticket(study)["workitem_uid"]
    empty.receive(images[4:])
    complete(empty, study)
    item = empty.journal.workitem(lost)
    assert (item.state, item.reason_code) == ("CANCELED", "OVERTAKEN")
    assert empty.workitem(study).state == "SCHEDULED"


def test_the_rule_gives_the_priority(make):
    bench = make(rules=(Rule(name="urgent", modalities=("CT",), priority=1),))
    for images in (ct(), mr()):
        complete(bench, bench.receive(images))
    by_study = {i.study_uid: i.priority for i in bench.journal.workitems()}
    modalities = {study: bench.index.series_of(study)[0].modality for study in by_study}
    assert {modalities[study]: p for study, p in by_study.items()} == {"CT": 1, "MR": 5}


def test_an_ended_workitem_can_be_done_again(empty: Bench, operations: Operations):
    study = empty.receive(mr())
    complete(empty, study)
    (first,) = empty.journal.workitems()
    with pytest.raises(Conflict, match="waiting or running"):
        operations.reanalyse(study)
    empty.journal.end(first.workitem_uid, "COMPLETED", None)
    again = operations.retry(first.workitem_uid)
    assert again.workitem_uid != first.workitem_uid
    assert (again.state, again.content_digest) == ("SCHEDULED", first.content_digest)
    with pytest.raises(Conflict):
        operations.reanalyse(study)
    empty.journal.end(again.workitem_uid, "CANCELED", None)
    third = operations.reanalyse(study)
    assert len({first.workitem_uid, again.workitem_uid, third.workitem_uid}) == 3


def test_a_study_that_is_arriving_is_not_analysed(empty: Bench, operations: Operations):
    study = empty.receive(mr())
    with pytest.raises(Conflict, match="still arriving"):
        operations.reanalyse(study)


def test_what_is_unknown_is_not_found(operations: Operations):
    for ask in (operations.reanalyse, operations.retry, operations.cancel):
        with pytest.raises(NotFound):
            ask("1.2.3")


def test_a_waiting_workitem_can_be_canceled(empty: Bench, operations: Operations):
    complete(empty, empty.receive(mr()))
    (item,) = empty.journal.workitems()
    canceled = operations.cancel(item.workitem_uid)
    assert (canceled.state, canceled.reason_code) == ("CANCELED", "CANCELED_BY_USER")
    assert status(empty, item.workitem_uid) == "CANCELLED"
    with pytest.raises(Conflict, match="CANCELED already"):
        operations.cancel(item.workitem_uid)
    assert operations.retry(item.workitem_uid).state == "SCHEDULED"


def test_work_that_the_engine_gave_up_is_closed(empty: Bench):
    for images in (mr(), ct()):
        complete(empty, empty.receive(images))
    first, second = empty.journal.workitems()
    for item in (first, second):
        empty.journal.begin(item.workitem_uid)
    empty.journal.schedule("unknown", study_uid="1.2", content_digest="", priority=5)
    empty.journal.begin("unknown")
    empty.parts.client.cancel([first.workitem_uid])
    close_given_up(empty.parts)
    found = {i.workitem_uid: (i.state, i.reason_code) for i in empty.journal.workitems()}
    assert found == {
        first.workitem_uid: ("CANCELED", "CANCELED_BY_USER"),
        second.workitem_uid: ("IN PROGRESS", ""),
        "unknown": ("IN PROGRESS", ""),
    }


def test_a_canceled_workitem_keeps_its_reason(empty: Bench, operations: Operations):
    complete(empty, empty.receive(mr()))
    (item,) = empty.journal.workitems()
    operations.cancel(item.workitem_uid)
    close_given_up(empty.parts)
    assert empty.workitem(item.study_uid).reason_code == "CANCELED_BY_USER"
    assert Reason(code="CANCELED_BY_USER", text="canceled on request").text == (
        empty.workitem(item.study_uid).reason_text
    )
