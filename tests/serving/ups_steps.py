"""Workitems as other systems send them."""

from itertools import count
from typing import Any

import httpx
from pydicom import Dataset

from tests.serving.dicomweb_site import Site

numbers = count(1)
CLAIM, OTHER = "1.2.826.0.1.1", "1.2.826.0.1.2"
JSON = {"Content-Type": "application/dicom+json"}


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def pushed(**changes: Any) -> Dataset:
    """A workitem for a reader at another workstation."""
    ds = Dataset()
    ds.ScheduledProcedureStepPriority = "MEDIUM"
    ds.ProcedureStepLabel = "Second reading"
    ds.WorklistLabel = "Neuro"
    ds.ScheduledProcedureStepStartDateTime = "20260301093000+0800"
    ds.ScheduledWorkitemCodeSequence = [coded("110005", "DCM", "Interpretation")]
    ds.InputReadinessState = "READY"
    ds.PatientName, ds.PatientID = "Wang^XiaoDong=王^小东", "P2"
    ds.StudyInstanceUID = "1.2.3"
    order = Dataset()
    order.AccessionNumber, order.StudyInstanceUID = "A77", "1.2.3"
    ds.ReferencedRequestSequence = [order]
    ds.ProcedureStepState = "SCHEDULED"
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def body(ds: Dataset) -> list[dict[str, Any]]:
    return [ds.to_json_dict()]


def to(state: str, transaction: str = CLAIM) -> list[dict[str, Any]]:
    ds = Dataset()
    ds.ProcedureStepState = state
    if transaction:
        ds.TransactionUID = transaction
    return body(ds)


def done() -> Dataset:
    """What a performer sets before it completes a workitem."""
    performed = Dataset()
    performed.PerformedStationNameCodeSequence = [coded("WS1", "99SITE", "Workstation 1")]
    performed.PerformedWorkitemCodeSequence = [coded("110005", "DCM", "Interpretation")]
    performed.PerformedProcedureStepStartDateTime = "20260301093000"
    performed.PerformedProcedureStepEndDateTime = "20260301094500"
    performed.OutputInformationSequence = []
    ds = Dataset()
    ds.UnifiedProcedureStepPerformedProcedureSequence = [performed]
    return ds


def given_up() -> Dataset:
    """What a performer sets before it cancels a workitem."""
    progress = Dataset()
    progress.ProcedureStepCancellationDateTime = "20260301094500"
    progress.ReasonForCancellation = "the display broke"
    progress.ProcedureStepDiscontinuationReasonCodeSequence = [
        coded("110501", "DCM", "Equipment failure")
    ]
    ds = Dataset()
    ds.ProcedureStepProgressInformationSequence = [progress]
    return ds


def create(site: Site, **changes: Any) -> str:
    uid = f"1.2.840.77.{next(numbers)}"
    answer = site.client.post(f"/workitems?{uid}", json=body(pushed(**changes)), headers=JSON)
    assert answer.status_code == 201, answer.text
    return uid


def step(site: Site, uid: str) -> Dataset:
    (found,) = site.get(f"/workitems/{uid}")
    return Dataset.from_json(found)


def state(site: Site, uid: str, content: Any) -> httpx.Response:
    return site.client.put(f"/workitems/{uid}/state", json=content, headers=JSON)


def update(site: Site, uid: str, ds: Dataset, transaction: str = "") -> httpx.Response:
    query = f"?{transaction}" if transaction else ""
    return site.client.post(f"/workitems/{uid}{query}", json=body(ds), headers=JSON)


def cancel(site: Site, uid: str, ds: Dataset | None = None) -> httpx.Response:
    if ds is None:
        return site.client.post(f"/workitems/{uid}/cancelrequest")
    return site.client.post(f"/workitems/{uid}/cancelrequest", json=body(ds), headers=JSON)
