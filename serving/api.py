"""REST under /api: studies, models, workitems, events."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from dicom_node.records import StudyFilter
from imaging.errors import NotFound
from models.registry import Registry
from serving.journal import Journal
from serving.operations import Operations
from serving.order import PRIORITIES
from serving.problems import Problem
from serving.records import Delivery, DeliveryState, Workitem
from serving.study_view import StudyDetail, StudyList, StudyViews

_EVENT_POLL_S = 0.5
_KEEP_ALIVE_POLLS = 30
_LONGEST_STREAM_S = 600.0  # then clients come again, and are asked again who they are

router = APIRouter(prefix="/api")


class ModelView(BaseModel):
    """An installed model package; a broken one lists its problems and never runs."""

    name: str = Field(examples=["brain-extraction"])
    version: str = Field(examples=["0.1"])
    title: str = Field(examples=["Brain extraction on T1 MR"])
    task: str = Field(examples=["segmentation"])
    intended_use: str = Field(examples=["Research use only."])
    digest: str = Field(examples=["9f2c"])
    problems: tuple[str, ...] = ()


class PriorityChange(BaseModel):
    """How soon a waiting study is to be analysed."""

    priority: int = Field(
        ge=PRIORITIES[0],
        le=PRIORITIES[-1],
        examples=[1],
        description="1 STAT, 3 high, 5 routine, 7 low",
    )


def _views(request: Request) -> StudyViews:
    views: StudyViews = request.app.state.views
    return views


def _journal(request: Request) -> Journal:
    journal: Journal = request.app.state.journal
    return journal


def _operations(request: Request) -> Operations:
    operations: Operations = request.app.state.operations
    return operations


def _registry(request: Request) -> Registry:
    registry: Registry = request.app.state.registry
    return registry


Views = Annotated[StudyViews, Depends(_views)]
JournalDep = Annotated[Journal, Depends(_journal)]
OperationsDep = Annotated[Operations, Depends(_operations)]
RegistryDep = Annotated[Registry, Depends(_registry)]

PROBLEM = {"model": Problem, "content": {"application/problem+json": {}}}


class StudyQuery(BaseModel):
    """Which studies; what is left out does not restrict."""

    text: str = Field("", description="in name, patient ID, accession number or description")
    patient_id: str = ""
    accession_number: str = ""
    modality: str = Field("", examples=["MR"])
    receiving: bool | None = Field(
        None, description="only studies still arriving, or only complete ones"
    )
    date_from: str = Field("", pattern=r"^(\d{8})?$", examples=["20260101"])
    date_to: str = Field("", pattern=r"^(\d{8})?$", examples=["20261231"])
    limit: int = Field(50, ge=1, le=500)
    offset: int = Field(0, ge=0)

    def filter(self) -> StudyFilter:
        """Return the index's form of this query."""
        states: dict[bool | None, Literal["receiving", "complete"] | None]
        states = {True: "receiving", False: "complete", None: None}
        return StudyFilter(
            text=self.text,
            patient_id=self.patient_id,
            accession_number=self.accession_number,
            modality=self.modality,
            state=states[self.receiving],
            date_from=self.date_from,
            date_to=self.date_to,
        )


@router.get("/studies", tags=["studies"])
def list_studies(views: Views, query: Annotated[StudyQuery, Query()]) -> StudyList:
    """List studies, last received first."""
    return views.listed(query.filter(), limit=query.limit, offset=query.offset)


@router.get("/studies/{study_uid}", tags=["studies"], responses={404: PROBLEM})
def get_study(study_uid: str, views: Views) -> StudyDetail:
    """Return a study: series, decisions and why, workitems, findings, results, deliveries."""
    return views.detail(study_uid)


@router.post(
    "/studies/{study_uid}/reanalyse",
    tags=["studies"],
    status_code=202,
    responses={404: PROBLEM, 409: PROBLEM},
)
def reanalyse(study_uid: str, operations: OperationsDep) -> Workitem:
    """Analyse a study again with the models installed now; what is unchanged keeps its UIDs."""
    return operations.reanalyse(study_uid)


@router.get("/models", tags=["models"])
def list_models(registry: RegistryDep) -> list[ModelView]:
    """List the installed model packages."""
    sound = [
        ModelView(
            name=package.manifest.name,
            version=package.manifest.version,
            title=package.manifest.title,
            task=package.manifest.task,
            intended_use=package.manifest.intended_use,
            digest=package.digest,
        )
        for package in registry.packages()
    ]
    broken = [
        ModelView(
            name=item.name,
            version="",
            title="",
            task="",
            intended_use="",
            digest="",
            problems=item.problems,
        )
        for item in registry.broken()
    ]
    return sound + broken


@router.get("/workitems", tags=["workitems"])
def list_workitems(
    journal: JournalDep,
    state: Literal["SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED"] | None = None,
) -> list[Workitem]:
    """List workitems, newest first."""
    return list(journal.workitems(state=state))


@router.get("/workitems/{workitem_uid}", tags=["workitems"], responses={404: PROBLEM})
def get_workitem(workitem_uid: str, journal: JournalDep) -> Workitem:
    """Return one workitem."""
    found = journal.workitem(workitem_uid)
    if found is None:
        msg = f"there is no workitem {workitem_uid}"
        raise NotFound(msg)
    return found


@router.patch(
    "/workitems/{workitem_uid}", tags=["workitems"], responses={404: PROBLEM, 409: PROBLEM}
)
def change_workitem(
    workitem_uid: str, change: PriorityChange, operations: OperationsDep
) -> Workitem:
    """Give a waiting workitem another priority: lower ones run first."""
    return operations.prioritise(workitem_uid, change.priority)


@router.post(
    "/workitems/{workitem_uid}/cancel",
    tags=["workitems"],
    responses={404: PROBLEM, 409: PROBLEM},
)
def cancel_workitem(workitem_uid: str, operations: OperationsDep) -> Workitem:
    """Stop a workitem before its next step; what is delivered stays delivered."""
    return operations.cancel(workitem_uid)


@router.post(
    "/workitems/{workitem_uid}/retry",
    tags=["workitems"],
    status_code=202,
    responses={404: PROBLEM, 409: PROBLEM},
)
def retry_workitem(workitem_uid: str, operations: OperationsDep) -> Workitem:
    """Run an ended workitem's study again, deliveries included; returns the new workitem."""
    return operations.retry(workitem_uid)


@router.get("/deliveries", tags=["deliveries"])
def list_deliveries(
    journal: JournalDep,
    state: DeliveryState | None = None,
    study_uid: str | None = None,
) -> list[Delivery]:
    """List deliveries: what waits, why, and what a destination refuses."""
    return list(journal.deliveries(study_uid=study_uid, state=state))


@router.post("/deliveries/retry", tags=["deliveries"], status_code=202, responses={409: PROBLEM})
def retry_deliveries(
    operations: OperationsDep, study_uid: str | None = None, destination: str | None = None
) -> list[Delivery]:
    """Try again what was refused or given up; returns these deliveries as they were."""
    return list(operations.deliver_again(study_uid=study_uid, destination=destination))


@router.get(
    "/events",
    tags=["events"],
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"example": (
        'id: 17\nevent: completed\ndata: {"id": 17, "kind": "completed", "text": "..."}\n\n'
    )}}}},
)  # fmt: skip
async def events(
    journal: JournalDep,
    after: Annotated[int | None, Query(description="id of the last event already seen")] = None,
    last_event_id: Annotated[str | None, Header()] = None,
    *,
    named: Annotated[bool, Query(description="false: every event as a plain message")] = True,
) -> StreamingResponse:
    """Stream what happens as server-sent events; reconnecting clients continue where they were."""
    if last_event_id and last_event_id.isdigit():  # a connection that was lost goes on
        after = int(last_event_id)
    start = after if after is not None else await asyncio.to_thread(journal.last_event_id)
    stream = _stream(journal, start, named=named)
    return StreamingResponse(stream, media_type="text/event-stream")


async def _stream(journal: Journal, last_id: int, *, named: bool) -> AsyncIterator[str]:
    quiet, end = 0, time.monotonic() + _LONGEST_STREAM_S
    while time.monotonic() < end:
        found = await asyncio.to_thread(journal.events_after, last_id)
        for event in found:
            last_id = event.id
            name = f"event: {event.kind}\n" if named else ""
            yield f"id: {event.id}\n{name}data: {event.model_dump_json()}\n\n"
        quiet = 0 if found else quiet + 1
        if quiet >= _KEEP_ALIVE_POLLS:
            quiet = 0
            yield ": still here\n\n"
        await asyncio.sleep(_EVENT_POLL_S)
