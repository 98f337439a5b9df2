"""REST under /api for what leaves as a file: findings as FHIR and on paper, and result objects."""

import json

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from dicom_node.archive import Archive
from dicom_node.index import Index
from imaging.errors import NotFound
from imaging.sentences import Language
from serving.api import PROBLEM, JournalDep, Views
from serving.assessments import Assessments
from serving.fhir import bundle
from serving.room.language import Words
from serving.room.pages import Room
from serving.room.printed import Printer

router = APIRouter(prefix="/api/studies/{study_uid}", tags=["downloads"])


@router.get(
    "/fhir",
    response_class=Response,
    responses={200: {"content": {"application/fhir+json": {}}}, 404: PROBLEM},
)
def fhir(study_uid: str, request: Request, views: Views, *, journal: JournalDep) -> Response:
    """Return the findings as a FHIR R4 Bundle: DiagnosticReport, Observations, ImagingStudy."""
    detail = views.detail(study_uid)
    index: Index = request.app.state.index
    assessments: Assessments = request.app.state.assessments
    newest = detail.workitems[0] if detail.workitems else None
    body = bundle(
        index.study(study_uid),
        detail.series,
        journal.current_findings(study_uid),
        assessed=assessments.holding(study_uid),
        issued=newest.ended_at if newest else None,
    )
    return Response(
        json.dumps(body, ensure_ascii=False),
        media_type="application/fhir+json",
        headers={"Content-Disposition": f'attachment; filename="{study_uid}.fhir.json"'},
    )


@router.get(
    "/report.pdf",
    response_class=Response,
    responses={200: {"content": {"application/pdf": {}}}, 404: PROBLEM},
)
def report(study_uid: str, request: Request, lang: Language = "en") -> Response:
    """Return the findings as a PDF for people, in English or Chinese."""
    room: Room = request.app.state.room
    now = room.clock()
    printer = Printer(words=Words(lang), pictures=room.pictures, now=now)
    return Response(
        printer.pdf(room.studies.page(study_uid, now=now)),
        media_type="application/pdf",
        headers={"Content-Disposition": f'inline; filename="{study_uid}.pdf"'},
    )


@router.get(
    "/results/{instance_uid}",
    response_class=FileResponse,
    responses={200: {"content": {"application/dicom": {}}}, 404: PROBLEM},
)
def result(study_uid: str, instance_uid: str, request: Request, *, journal: JournalDep) -> Response:
    """Return a result object (SEG, SR, ...) as its DICOM file."""
    archive: Archive = request.app.state.archive
    index: Index = request.app.state.index
    made = {r.instance_uid: r for r in journal.results(study_uid=study_uid)}
    stored = index.instance(instance_uid)
    if instance_uid not in made or stored is None:
        msg = f"study {study_uid} has no result {instance_uid}"
        raise NotFound(msg)
    name = f"{made[instance_uid].kind.lower()}-{instance_uid}.dcm"
    return FileResponse(archive.file(stored.path), media_type="application/dicom", filename=name)
