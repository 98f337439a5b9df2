"""Work items of other systems that ask for an analysis: claimed, performed, completed."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from dicom_node.delivery import send
from dicom_node.peers import AssociationPolicy, Peer
from dicom_node.scp import Listening, Node
from serving.tickets import StudyTicket
from serving.ups import rules
from serving.ups.performer import Offer
from serving.ups.states import State
from serving.ups.step import Step
from tests.dicom_node.rig import OURS, save, wait_for
from tests.models.networks import SEGMENTATION, segmenter, write_package
from tests.serving.bench import MODEL, Bench, ct, mr
from tests.serving.dicomweb_site import Site, running
from tests.serving.test_operations import complete
from tests.serving.ups_steps import CLAIM, JSON, body, coded, pushed, to

CAD = coded("110004", "DCM", "Computer Aided Detection")
OFFER = Offer(ae_title="WETREAD", task_codes=("110004^DCM",), models=(MODEL,))


def input_of(images: list[Dataset], title: str = "PACS") -> Dataset:
    """The Input Information Sequence item of a series."""
    item, source = Dataset(), Dataset()
    item.StudyInstanceUID = images[0].StudyInstanceUID
    item.SeriesInstanceUID = images[0].SeriesInstanceUID
    item.ReferencedSOPSequence = []
    for image in images:
        reference = Dataset()
        reference.ReferencedSOPClassUID = image.SOPClassUID
        reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
        item.ReferencedSOPSequence.append(reference)
    source.RetrieveAETitle = title
    item.DICOMRetrievalSequence = [source]
    return item


def wanted(images: list[Dataset], **changes: Any) -> Dataset:
    """A work item that asks for an analysis of these images."""
    defaults = {
        "ScheduledWorkitemCodeSequence": [CAD],
        "ScheduledProcedureStepPriority": "HIGH",
        "InputInformationSequence": [input_of(images)],
        "StudyInstanceUID": images[0].StudyInstanceUID,
        "PatientID": images[0].PatientID,
    }
    return pushed(**(defaults | changes))


def order(bench: Bench, ds: Dataset, uid: str = "1.9") -> None:
    content, _ = rules.created(ds.to_json_dict(), uid, 1.0)
    bench.parts.worklist.create(Step(ups_uid=uid, content=content, pushed=True, created_at=1.0))


def look(bench: Bench) -> None:
    bench.parts.performer.look(OFFER)


def step(bench: Bench, uid: str = "1.9") -> Dataset:
    return Dataset.from_json(bench.parts.worklist.step(uid).content)


def arrived(bench: Bench, images: list[Dataset]) -> str:
    """Receive a study whose first analysis is over."""
    study = bench.receive(images)
    complete(bench, study)
    bench.journal.end(bench.workitem(study).workitem_uid, "COMPLETED", None)
    return study


def analyse(bench: Bench, study: str) -> None:
    """Do the newest analysis of a study as a worker does."""
    item = bench.workitem(study)
    bench.run(
        StudyTicket(
            workitem_uid=item.workitem_uid,
            study_uid=study,
            content_digest=item.content_digest,
            completeness="confirmed",
            arrival_text="",
            short={},
        )
    )


@pytest.mark.parametrize(
    ("changes", "priority"),
    [
        ({"ScheduledProcedureStepPriority": "STAT"}, 1),
        ({}, 3),
        ({"ScheduledProcedureStepPriority": "MEDIUM"}, 5),
        ({"ScheduledProcedureStepPriority": "LOW"}, 7),
        ({"ScheduledWorkitemCodeSequence": [coded(MODEL, "99WETREAD", "a model")]}, 3),
        ({"ScheduledStationNameCodeSequence": [coded("WETREAD", "99SITE", "Wetread")]}, 3),
        ({"InputInformationSequence": []}, 3),
    ],
)
def test_what_asks_for_an_analysis_is_claimed(bench: Bench, changes: Any, priority: int):
    images = mr()
    study = arrived(bench, images)
    order(bench, wanted(images, **changes))
    look(bench)
    assert step(bench).ProcedureStepState == "IN PROGRESS"
    item = bench.workitem(study)
    assert (item.state, item.priority) == ("SCHEDULED", priority)
    assert bench.parts.client.find(item.workitem_uid).status == "ENQUEUED"
    look(bench)
    assert len(bench.journal.workitems(study_uid=study)) == 2


def test_it_is_completed_with_the_results(bench: Bench):
    images = mr()
    study = arrived(bench, images)
    order(bench, wanted(images))
    look(bench)
    bench.journal.begin(bench.workitem(study).workitem_uid)
    look(bench)
    (progress,) = step(bench).ProcedureStepProgressInformationSequence
    assert progress.ProcedureStepProgress == 0
    analyse(bench, study)
    look(bench)
    found = step(bench)
    assert found.ProcedureStepState == "COMPLETED"
    performed = found.UnifiedProcedureStepPerformedProcedureSequence[0]
    assert performed.PerformedWorkitemCodeSequence[0].CodeValue == "110004"
    references = {
        reference.ReferencedSOPInstanceUID
        for output in performed.OutputInformationSequence
        for reference in output.ReferencedSOPSequence
    }
    assert references == {result.instance_uid for result in bench.results(study).values()}
    assert {"SEG", "SR"} <= bench.results(study).keys()


def test_an_analysis_that_waits_serves_and_is_hurried(bench: Bench):
    images = mr()
    study = bench.receive(images)
    complete(bench, study)
    order(bench, wanted(images, ScheduledProcedureStepPriority="STAT"))
    look(bench)
    look(bench)
    (item,) = bench.journal.workitems(study_uid=study)
    assert (item.state, item.priority) == ("SCHEDULED", 1)
    analyse(bench, study)
    look(bench)
    assert step(bench).ProcedureStepState == "COMPLETED"
    own = [s for s in bench.parts.worklist.performing(item.workitem_uid) if not s.pushed]
    assert [s.state for s in own] == ["COMPLETED"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ScheduledWorkitemCodeSequence": [coded("110005", "DCM", "Interpretation")]}, None),
        ({"ScheduledWorkitemCodeSequence": [coded(MODEL, "99OTHER", "another's")]}, None),
        ({"ScheduledWorkitemCodeSequence": []}, None),
        ({"ScheduledStationNameCodeSequence": [coded("OTHER", "99SITE", "Other")]}, None),
        ({"InputReadinessState": "INCOMPLETE"}, None),
        ({"PatientID": "SOMEBODY"}, "of another patient ID"),
        ({"InputInformationSequence": [], "StudyInstanceUID": "1.2.404"}, "not here"),
        ({"InputInformationSequence": [input_of(mr(StudyInstanceUID="1.2.404"))]}, "not here"),
        (
            {"InputInformationSequence": [input_of(mr()), input_of(mr(StudyInstanceUID="1.5"))]},
            "names 2 studies",
        ),
    ],
)
def test_what_is_not_for_us_waits(bench: Bench, changes: Any, why: str | None):
    images = mr()
    study = arrived(bench, images)
    order(bench, wanted(images, **changes))
    look(bench)
    found = step(bench)
    assert found.ProcedureStepState == "SCHEDULED"
    assert len(bench.journal.workitems(study_uid=study)) == 1
    progress = found.ProcedureStepProgressInformationSequence
    told = [item.ProcedureStepProgressDescription for item in progress]
    assert why in told[0] if why else told == []


def test_what_another_has_claimed_is_left_alone(bench: Bench):
    images = mr()
    study = arrived(bench, images)
    order(bench, wanted(images))
    with bench.parts.worklist.changing("1.9") as change:
        change.set(state=State.IN_PROGRESS, transaction_uid=CLAIM)
    look(bench)
    assert bench.parts.worklist.step("1.9").transaction_uid == CLAIM
    assert len(bench.journal.workitems(study_uid=study)) == 1


def test_a_claim_whose_analysis_was_not_started_goes_on(bench: Bench):
    """The process was killed between the two."""
    images = mr()
    study = arrived(bench, images)
    order(bench, wanted(images))
    with bench.parts.worklist.changing("1.9") as change:
        change.set(
            state=State.IN_PROGRESS, transaction_uid=CLAIM, workitem_uid=f"{study}-0123-4567"
        )
    look(bench)
    item = bench.workitem(study)
    assert (item.workitem_uid, item.priority) == (f"{study}-0123-4567", 3)
    assert bench.parts.client.find(item.workitem_uid).status == "ENQUEUED"


def test_nothing_is_begun_while_the_study_arrives(bench: Bench):
    images = mr((6, 16, 16))
    study = arrived(bench, images[:4])
    bench.receive(images[4:])
    order(bench, wanted(images[:4]))
    look(bench)
    assert step(bench).ProcedureStepState == "SCHEDULED"
    assert len(bench.journal.workitems(study_uid=study)) == 1


def test_it_is_canceled_when_no_model_reads_the_study(bench: Bench):
    images = ct()
    study = arrived(bench, images)
    order(bench, wanted(images))
    look(bench)
    analyse(bench, study)
    look(bench)
    found = step(bench)
    progress = found.ProcedureStepProgressInformationSequence[0]
    code = progress.ProcedureStepDiscontinuationReasonCodeSequence[0]
    assert found.ProcedureStepState == "CANCELED"
    assert (code.CodingSchemeDesignator, code.CodeValue) == (
        "99WETREAD",
        bench.workitem(study).reason_code,
    )
    assert progress.ReasonForCancellation == bench.workitem(study).reason_text


def test_images_that_are_not_here_are_asked_for(
    orthanc: Peer, our_port: int, make: Callable[..., Bench], tmp_path: Path
):
    bench = make(peers=(orthanc,))
    images = mr()
    assert send(orthanc, save(tmp_path / "out", *images), ae_title=OURS).text == ""
    policy = AssociationPolicy(ae_title=OURS, peers=(orthanc,))
    listening = Listening(host="127.0.0.1", port=our_port)
    node = Node(bench.parts.ingest, policy, lambda _: None, listening=listening)
    node.start()
    try:
        order(bench, wanted(images))
        look(bench)
        study = str(images[0].StudyInstanceUID)
        wait_for(lambda: len(bench.index.instances_of(study)) == len(images), seconds=60)
    finally:
        node.stop(grace_s=0.5)


# All of it, over HTTP, with a worker

_TOML = """
data_folder = "data"
[node]
allow_loopback = true
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A web process and a worker with one model."""
    made = Site(tmp_path)
    made.parts.registry.add(write_package(tmp_path / "package", SEGMENTATION, segmenter()))
    settings = tmp_path / "wetread.toml"
    settings.write_text(_TOML)
    command = [sys.executable, "-m", "serving", "--settings", str(settings), "worker"]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, stderr=log)
    with running(made):
        yield made
    worker.terminate()
    worker.wait(timeout=30)


def test_a_work_item_is_performed_from_order_to_results(site: Site):
    images = mr()
    site.keep(images)
    site.index, site.journal = site.parts.index, site.parts.journal
    complete(site, str(images[0].StudyInstanceUID))
    made = site.client.post("/workitems?1.9", json=body(wanted(images)), headers=JSON)
    assert made.status_code == 201, made.text

    def found() -> Dataset:
        return Dataset.from_json(site.get("/workitems/1.9")[0])

    limit = time.monotonic() + 120
    while found().ProcedureStepState in {"SCHEDULED", "IN PROGRESS"}:
        assert time.monotonic() < limit, found()
        time.sleep(0.1)
    assert found().ProcedureStepState == "COMPLETED"
    output = found().UnifiedProcedureStepPerformedProcedureSequence[0].OutputInformationSequence
    for series in output:
        for reference in series.ReferencedSOPSequence:
            place = f"/studies/{series.StudyInstanceUID}/series/{series.SeriesInstanceUID}"
            path = f"{place}/instances/{reference.ReferencedSOPInstanceUID}"
            assert site.raw(path, "application/dicom").content[128:132] == b"DICM"
    kinds = {r.ReferencedSOPClassUID for s in output for r in s.ReferencedSOPSequence}
    assert "1.2.840.10008.5.1.4.1.1.66.4" in kinds
    taken = site.client.put("/workitems/1.9/state", json=to("COMPLETED"), headers=JSON)
    assert taken.status_code == 400  # it is ours: nobody else knows its transaction UID
