"""REST under /api for assessments: what readers think of findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from serving.api import PROBLEM, JournalDep, OperationsDep, Views
from serving.assessments import AssessmentRecord, AssessmentRequest, Assessments
from serving.current_user import CurrentUser
from serving.journal import Journal
from serving.operations import Operations
from serving.people.person import User
from serving.saved_objects import SavedObject, SavedObjects

router = APIRouter(prefix="/api/studies/{study_uid}/assessments", tags=["assessments"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where assessments are taken in: stored, then filed into the study."""

    journal: Journal
    assessments: Assessments
    operations: Operations

    def assess(
        self, study_uid: str, wanted: AssessmentRequest, user: User
    ) -> list[AssessmentRecord]:
        """Store a verdict on findings that the newest analysis found."""
        findings = self.journal.current_findings(study_uid)
        made = self.assessments.assess(findings, wanted, study_uid=study_uid, reader=user.name)
        return self._filed(study_uid, made)

    def undo(self, study_uid: str, action: str, user: User) -> list[AssessmentRecord]:
        """Take an action back."""
        made = self.assessments.undo(study_uid, action, reader=user.name)
        return self._filed(study_uid, made)

    def _filed(self, study_uid: str, made: Sequence[AssessmentRecord]) -> list[AssessmentRecord]:
        self.operations.file_assessment(study_uid, max(record.id for record in made))
        return list(made)


def _desk(request: Request, journal: JournalDep, operations: OperationsDep) -> Desk:
    assessments: Assessments = request.app.state.assessments
    return Desk(journal=journal, assessments=assessments, operations=operations)


def _saved(request: Request) -> SavedObjects:
    saved: SavedObjects = request.app.state.saved
    return saved


DeskDep = Annotated[Desk, Depends(_desk)]
SavedDep = Annotated[SavedObjects, Depends(_saved)]


@router.get("", responses={404: PROBLEM})
def list_assessments(study_uid: str, views: Views, desk: DeskDep) -> list[AssessmentRecord]:
    """List every assessment of a study, newest first; `current` ones hold."""
    views.detail(study_uid)
    return list(desk.assessments.history(study_uid))


@router.get("/saved", responses={404: PROBLEM})
def list_saved(study_uid: str, views: Views, saved: SavedDep) -> list[SavedObject]:
    """List what others saved into a study, newest first, and what it makes of our findings."""
    views.detail(study_uid)
    return list(saved.of_study(study_uid))


@router.post("", status_code=201, responses={404: PROBLEM, 409: PROBLEM})
def assess(
    study_uid: str, wanted: AssessmentRequest, user: CurrentUser, *, views: Views, desk: DeskDep
) -> list[AssessmentRecord]:
    """Accept, reject or correct findings; it goes into the study as a document, and to the PACS."""
    views.detail(study_uid)
    return desk.assess(study_uid, wanted, user)


@router.post("/{action}/undo", status_code=201, responses={404: PROBLEM, 409: PROBLEM})
def undo(
    study_uid: str, action: str, user: CurrentUser, *, desk: DeskDep
) -> list[AssessmentRecord]:
    """Give findings the verdict back that they had before this action."""
    return desk.undo(study_uid, action, user)
