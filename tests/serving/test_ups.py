"""The worklist as other systems use it: workitems are made, found, claimed, performed, canceled."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom import Dataset

from dicom_node import schema
from imaging.reasons import reason
from tests.builders import mr_series
from tests.serving.dicomweb_site import Site, running
from tests.serving.test_operations import complete
from tests.serving.ups_steps import (
    CLAIM,
    JSON,
    OTHER,
    body,
    cancel,
    create,
    done,
    given_up,
    pushed,
    state,
    step,
    to,
    update,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(Site(tmp_path_factory.mktemp("ups"))) as made:
        yield made


def test_a_workitem_is_created_where_it_was_asked_for_and_retrieved(site: Site):
    ds = pushed(SOPInstanceUID="1.2.840.9.1")
    answer = site.client.post("/workitems?1.2.840.9.1", json=body(ds), headers=JSON)
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{site.url}/workitems/1.2.840.9.1"
    assert "created with modifications" in answer.headers["warning"]  # empty ones were left out
    found = step(site, "1.2.840.9.1")
    assert (found.SOPInstanceUID, found.ProcedureStepState) == ("1.2.840.9.1", "SCHEDULED")
    assert found.SOPClassUID == "1.2.840.10008.5.1.4.34.6.1"
    assert found.PatientName == "Wang^XiaoDong=王^小东"
    assert found.ScheduledProcedureStepModificationDateTime
    again = site.client.post("/workitems?1.2.840.9.1", json=body(ds), headers=JSON)
    assert again.status_code == 409


def test_a_workitem_without_a_uid_gets_one(site: Site):
    answer = site.client.post("/workitems", json=body(pushed()), headers=JSON)
    place = answer.headers["location"]
    assert place.startswith(f"{site.url}/workitems/2.25.")
    assert site.client.get(place).status_code == 200


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ProcedureStepLabel": None}, "00741204"),
        ({"ScheduledProcedureStepPriority": "URGENT"}, "00741200"),
        ({"ScheduledProcedureStepStartDateTime": None}, "00404005"),
        ({"ScheduledProcedureStepStartDateTime": "tomorrow"}, "00404005"),
        ({"InputReadinessState": "MAYBE"}, "00404041"),
        ({"ProcedureStepState": "IN PROGRESS"}, "SCHEDULED"),
        ({"ProcedureStepState": None}, "00741000"),
        ({"TransactionUID": "1.2.3"}, "00081195"),
        ({"SOPInstanceUID": "1.2.3"}, "contradict"),
        ({"UnifiedProcedureStepPerformedProcedureSequence": [Dataset()]}, None),
        ({"ProcedureStepProgressInformationSequence": [pushed()]}, "00741002"),
    ],
    ids=str,
)
def test_what_breaks_the_rules_is_not_created(site: Site, changes: Any, said: str | None):
    ds = pushed()
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            ds.to_json_dict()
            setattr(ds, keyword, value)
    answer = site.client.post("/workitems?1.2.840.9.2", json=body(ds), headers=JSON)
    assert answer.status_code == 400, answer.text
    assert said is None or said in answer.json()["detail"]
    assert site.client.get("/workitems/1.2.840.9.2").status_code == 404


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/dicom+json", 400),
        (b"{", "application/dicom+json", 400),
        (b"[[[[", "application/dicom+json", 400),
        (b"[" * 100_000, "application/dicom+json", 400),
        (b"[1]", "application/dicom+json", 400),
        (b'{"1234": {}}', "application/dicom+json", 400),
        (b'{"00741000": {"vr": "LO", "Value": ["SCHEDULED"]}}', "application/dicom+json", 400),
        (b'{"00741000": {"vr": "CS", "Value": "SCHEDULED"}}', "application/dicom+json", 400),
        (b'{"00741000": {"vr": "CS", "Value": [[]]}}', "application/dicom+json", 400),
        (b'{"0020000D": {"vr": "UI", "Value": ["../.."]}}', "application/dicom+json", 400),
        (b'{"00741204": {"vr": "LO", "Value": ["a\\u0000"]}}', "application/dicom+json", 400),
        (b"<NativeDicomModel/>", "application/dicom+xml", 415),
        (b"x" * (2 << 20), "application/dicom+json", 413),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_workitem_is_refused(site: Site, content: bytes, kind: str, status: int):
    answer = site.client.post("/workitems", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text


def test_a_workitem_that_is_not_here(site: Site):
    unknown = "1.2.840.404"
    assert site.client.get(f"/workitems/{unknown}").status_code == 404
    assert update(site, unknown, done()).status_code == 404
    assert state(site, unknown, to("IN PROGRESS")).status_code == 404
    assert cancel(site, unknown).status_code == 404
    assert site.client.get("/workitems/nonsense").status_code == 400


def test_the_work_of_another_performer_from_claim_to_completion(site: Site):
    uid = create(site)
    assert state(site, uid, to("IN PROGRESS")).status_code == 200
    assert step(site, uid).ProcedureStepState == "IN PROGRESS"
    early = state(site, uid, to("COMPLETED"))
    assert (early.status_code, "00404028" in early.json()["detail"]) == (409, True)
    assert update(site, uid, done(), CLAIM).status_code == 200
    assert state(site, uid, to("COMPLETED")).status_code == 200
    assert step(site, uid).ProcedureStepState == "COMPLETED"
    again = state(site, uid, to("COMPLETED"))
    assert again.status_code == 200
    assert "already in the requested state of COMPLETED" in again.headers["warning"]
    assert state(site, uid, to("CANCELED")).status_code == 409
    assert update(site, uid, done(), CLAIM).status_code == 400
    refused = cancel(site, uid)
    assert (refused.status_code, "already COMPLETED" in refused.headers["warning"]) == (409, True)


def test_a_performer_gives_up(site: Site):
    uid = create(site)
    assert state(site, uid, to("IN PROGRESS")).status_code == 200
    assert state(site, uid, to("CANCELED")).status_code == 409
    assert update(site, uid, given_up(), CLAIM).status_code == 200
    assert state(site, uid, to("CANCELED")).status_code == 200
    again = state(site, uid, to("CANCELED"))
    assert "already in the requested state of CANCELED" in again.headers["warning"]


def test_only_who_claimed_a_workitem_may_go_on_with_it(site: Site):
    uid = create(site)
    assert state(site, uid, to("IN PROGRESS", "")).status_code == 400
    assert state(site, uid, to("IN PROGRESS")).status_code == 200
    for key, said in ((OTHER, "incorrect"), ("", "missing")):
        for answer in (state(site, uid, to("COMPLETED", key)), update(site, uid, done(), key)):
            assert (answer.status_code, said in answer.headers["warning"]) == (400, True)
    taken = state(site, uid, to("IN PROGRESS", OTHER))
    assert taken.status_code == 400
    assert step(site, uid).ProcedureStepState == "IN PROGRESS"


def test_the_transaction_uid_is_never_told(site: Site):
    uid = create(site)
    state(site, uid, to("IN PROGRESS"))
    ds = done()
    ds.TransactionUID = CLAIM
    update(site, uid, ds, CLAIM)
    for path in (f"/workitems/{uid}", "/workitems", "/workitems?includefield=all&limit=5000"):
        assert CLAIM not in json.dumps(site.get(path))


def test_what_may_be_set(site: Site):
    uid, ds = create(site), Dataset()
    ds.ScheduledProcedureStepPriority, ds.ProcedureStepLabel = "HIGH", "Third reading"
    assert update(site, uid, ds).status_code == 200
    found = step(site, uid)
    assert (found.ScheduledProcedureStepPriority, found.ProcedureStepLabel) == (
        "HIGH",
        "Third reading",
    )
    for keyword, value in (("PatientID", "P9"), ("ProcedureStepState", "COMPLETED")):
        wrong = Dataset()
        setattr(wrong, keyword, value)
        assert update(site, uid, wrong).status_code == 400
    assert step(site, uid).PatientID == "P2"


@pytest.mark.parametrize("wanted", ["SCHEDULED", "DONE"])
def test_no_workitem_becomes_scheduled_again_nor_anything_else(site: Site, wanted: str):
    uid = create(site)
    assert state(site, uid, to(wanted)).status_code == (409 if wanted == "SCHEDULED" else 400)


def test_a_waiting_workitem_is_canceled_for_who_asks(site: Site):
    uid, why = create(site), Dataset()
    why.ReasonForCancellation = "ordered twice"
    assert cancel(site, uid, why).status_code == 202
    found = step(site, uid)
    progress = found.ProcedureStepProgressInformationSequence[0]
    assert (found.ProcedureStepState, progress.ReasonForCancellation) == (
        "CANCELED",
        "ordered twice",
    )
    assert progress.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue == "110513"
    again = cancel(site, uid)
    assert again.status_code == 200
    assert "already in the requested state of CANCELED" in again.headers["warning"]
    assert state(site, uid, to("IN PROGRESS")).status_code == 400


def test_what_another_performs_is_its_own_to_cancel(site: Site):
    uid = create(site)
    state(site, uid, to("IN PROGRESS"))
    answer = cancel(site, uid)
    assert (answer.status_code, "cannot be contacted" in answer.headers["warning"]) == (409, True)
    assert step(site, uid).ProcedureStepState == "IN PROGRESS"


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(Site(tmp_path_factory.mktemp("searched"))) as made:
        for number, changes in enumerate(
            (
                {},
                {"PatientID": "P3", "PatientName": "Müller^Käthe", "StudyInstanceUID": "1.2.4",
                 "ScheduledProcedureStepPriority": "HIGH", "ReferencedRequestSequence": []},
                {"ScheduledProcedureStepStartDateTime": "20260302", "WorklistLabel": "Chest"},
            ),
            start=1,
        ):  # fmt: skip
            answer = made.client.post(
                f"/workitems?1.1.{number}", json=body(pushed(**changes)), headers=JSON
            )
            assert answer.status_code == 201
        assert state(made, "1.1.3", to("IN PROGRESS")).status_code == 200
        yield made


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "123"),
        ("ProcedureStepState=SCHEDULED", "12"),
        ("ProcedureStepState=IN PROGRESS", "3"),
        ("ProcedureStepState=COMPLETED", ""),
        ("00741000=SCHEDULED", "12"),
        ("PatientID=P2", "13"),
        ("PatientID=P?", "123"),
        ("PatientName=wang*", "13"),
        ("PatientName=王*", "13"),
        ("StudyInstanceUID=1.2.4", "2"),
        ("StudyInstanceUID=1.2.3,1.2.4", "123"),
        ("AccessionNumber=A77", "13"),
        ("ReferencedRequestSequence.AccessionNumber=A77", "13"),
        ("ScheduledProcedureStepPriority=HIGH", "2"),
        ("ScheduledWorkitemCodeSequence.CodeValue=110005", "123"),
        ("ScheduledWorkitemCodeSequence.CodeValue=110004", ""),
        ("ScheduledWorkitemCodeSequence=", "123"),
        ("WorklistLabel=Chest", "3"),
        ("ScheduledProcedureStepStartDateTime=20260301", "12"),
        ("ScheduledProcedureStepStartDateTime=202603", "123"),
        ("ScheduledProcedureStepStartDateTime=20260302-", "3"),
        ("ScheduledProcedureStepStartDateTime=-20260301", "12"),
        ("ScheduledProcedureStepStartDateTime=20260301013000-20260301013000", "12"),
        ("ScheduledProcedureStepStartDateTime=20260301093000%2B0800", "12"),
        ("ScheduledProcedureStepStartDateTime=20260301093000-20260301235959", ""),
        ("PatientID=P2&ProcedureStepState=SCHEDULED", "1"),
        ("limit=1&offset=1", "2"),
        ("limit=0", ""),
    ],
)
def test_searching(searched: Site, query: str, found: str):
    answers = searched.get(f"/workitems?{query}")
    assert {a["00080018"]["Value"][0][-1] for a in answers} == set(found)


def test_more_than_was_asked_for_is_told(searched: Site):
    answer = searched.client.get("/workitems?limit=2")
    assert "additional results" in answer.headers["warning"]
    assert "warning" not in searched.client.get("/workitems?limit=3").headers


@pytest.mark.parametrize(
    "query",
    [
        "Nonsense=1",
        "limit=x",
        "includefield=Nonsense",
        "ScheduledProcedureStepStartDateTime=soon",
        "ScheduledProcedureStepStartDateTime=2026133",
        "ScheduledProcedureStepStartDateTime=-",
        "ScheduledWorkitemCodeSequence=110005",
    ],
)
def test_a_search_that_makes_no_sense_is_refused(searched: Site, query: str):
    assert searched.client.get(f"/workitems?{query}").status_code == 400


# Our own analyses


@pytest.fixture
def ours(tmp_path) -> Iterator[tuple[Site, str, str]]:
    """A site with one scheduled analysis: the site, the study and the workitem."""
    site = Site(tmp_path)
    images = mr_series((3, 8, 8), StudyInstanceUID="1.2.3", PatientID="P2", AccessionNumber="A1")
    site.keep(images)
    site.index, site.journal = site.parts.index, site.parts.journal
    complete(site, "1.2.3")
    with running(site):
        yield site, "1.2.3", site.journal.workitems()[0].workitem_uid


def only(site: Site) -> Dataset:
    (found,) = site.get("/workitems")
    return step(site, found["00080018"]["Value"][0])


def test_an_analysis_is_a_workitem_with_its_images(ours: tuple[Site, str, str]):
    site, study, _ = ours
    (found,) = site.get("/workitems", AccessionNumber="A1", ProcedureStepState="SCHEDULED")
    shown = only(site)
    assert shown.SOPInstanceUID == found["00080018"]["Value"][0]
    assert shown.SOPInstanceUID.startswith("2.25.")
    assert (shown.StudyInstanceUID, shown.PatientID) == (study, "P2")
    assert shown.ScheduledProcedureStepPriority == "MEDIUM"
    (series,) = shown.InputInformationSequence
    assert len(series.ReferencedSOPSequence) == 3
    assert series.DICOMRetrievalSequence[0].RetrieveAETitle == "WETREAD"


def test_an_analysis_cannot_be_taken_from_us(ours: tuple[Site, str, str]):
    site, _, _ = ours
    uid = only(site).SOPInstanceUID
    assert state(site, uid, to("IN PROGRESS")).status_code == 409
    assert update(site, uid, done()).status_code == 409
    assert only(site).ProcedureStepState == "SCHEDULED"


def test_an_analysis_is_canceled_for_who_asks(ours: tuple[Site, str, str]):
    site, _, workitem = ours
    uid = only(site).SOPInstanceUID
    assert cancel(site, uid).status_code == 202
    assert site.journal.workitem(workitem).state == "CANCELED"
    shown = only(site)
    progress = shown.ProcedureStepProgressInformationSequence[0]
    assert shown.ProcedureStepState == "CANCELED"
    code = progress.ProcedureStepDiscontinuationReasonCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("CANCELED_BY_USER", "99WETREAD")
    assert cancel(site, uid).status_code == 200


def test_an_analysis_goes_through_its_states(ours: tuple[Site, str, str]):
    site, _, workitem = ours
    uid = only(site).SOPInstanceUID
    site.journal.begin(workitem)
    assert only(site).ProcedureStepState == "IN PROGRESS"
    assert state(site, uid, to("COMPLETED")).status_code == 400
    site.journal.end(workitem, "COMPLETED", None)
    shown = only(site)
    assert (shown.SOPInstanceUID, shown.ProcedureStepState) == (uid, "COMPLETED")
    performed = shown.UnifiedProcedureStepPerformedProcedureSequence[0]
    assert performed.PerformedStationNameCodeSequence[0].CodeValue == "WETREAD"
    assert performed.PerformedProcedureStepEndDateTime


def test_a_new_worklist_begins_with_the_last_day(ours: tuple[Site, str, str]):
    site, study, workitem = ours
    site.journal.end(workitem, "COMPLETED", None)
    site.journal.schedule("1.2.3-later", study_uid=study, content_digest="d", priority=1)
    items = schema.workitems
    with schema.writing(site.index.engine) as db:
        longer = time.time() - 2 * 86_400
        where = items.c.workitem_uid == workitem
        db.execute(sa.update(items).where(where).values(ended_at=longer))
    shown = only(site)
    assert (shown.ProcedureStepState, shown.ScheduledProcedureStepPriority) == ("SCHEDULED", "HIGH")


def test_an_analysis_that_has_ended_is_shown_with_its_end(ours: tuple[Site, str, str]):
    site, _, workitem = ours
    site.journal.begin(workitem)
    site.journal.end(workitem, "CANCELED", reason("NO_IMAGES"))
    shown = only(site)
    assert shown.ProcedureStepState == "CANCELED"
    progress = shown.ProcedureStepProgressInformationSequence[0]
    assert progress.ReasonForCancellation == "the study holds no images"


def test_capabilities_list_the_worklist(site: Site):
    listed = {(s["method"], s["path"]) for s in site.get("/")["services"] if s["name"] == "UPS-RS"}
    assert ("PUT", "/workitems/{workitem}/state") in listed
