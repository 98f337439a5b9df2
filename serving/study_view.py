"""A study as REST and the command line show it: index and journal put together."""

from collections.abc import Sequence

from pydantic import Field

from dicom_node.index import Index
from dicom_node.records import StudyFilter, StudyRow
from serving.journal import Journal
from serving.records import (
    ANSWERS,
    TIME,
    UID,
    DecisionRecord,
    Delivery,
    FindingRecord,
    Record,
    Result,
    StandingResult,
    StudyState,
    Workitem,
)
from serving.standing import Standings


class SeriesView(Record):
    """A series; `results` of its instances are ours."""

    series_uid: str = UID
    modality: str = Field(examples=["MR"])
    number: int | None = Field(None, examples=[3])
    description: str = Field(examples=["T1 MPRAGE"])
    body_part: str = Field(examples=["HEAD"])
    instances: int = Field(examples=[181])
    results: int = Field(examples=[0])


class SetAsideView(Record):
    """Something of this study that arrived and was not taken in."""

    received_at: float = TIME
    instance_uid: str = UID
    code: str = Field(examples=["CONFLICT"])
    text: str = Field(examples=["other content is here under the same SOP Instance UID"])


class StudySummary(Record):
    """One line of the list."""

    study_uid: str = UID
    patient_id: str = Field(examples=["DEMO-1"])
    patient_name: str = Field(examples=["Demo^Colin27"])
    study_date: str = Field(examples=["20200101"])
    description: str = Field(examples=["Head MR"])
    accession_number: str = ""
    modality: str = Field(
        examples=["MR"], description="of the received series, joined by backslash"
    )
    state: StudyState = Field(examples=["done"])
    completeness: str | None = Field(
        None, examples=["confirmed"], description="confirmed by the PACS, quiet timer, or limit"
    )
    completeness_text: str = ""
    analysed: bool
    reason: str | None = Field(None, examples=["no installed model reads CT HEAD"])
    first_received_at: float = TIME
    last_received_at: float = TIME


class StudyList(Record):
    """A page of studies, last received first."""

    total: int = Field(examples=[2])
    studies: tuple[StudySummary, ...]


class StudyDetail(StudySummary):
    """Everything known about a study."""

    series: tuple[SeriesView, ...]
    decisions: tuple[DecisionRecord, ...]
    workitems: tuple[Workitem, ...]
    findings: tuple[FindingRecord, ...]
    results: tuple[StandingResult, ...]
    deliveries: tuple[Delivery, ...]
    set_aside: tuple[SetAsideView, ...]


class StudyViews:
    """Builds views; reads only."""

    def __init__(self, index: Index, journal: Journal) -> None:
        self._index, self._journal = index, journal

    def listed(self, wanted: StudyFilter, *, limit: int, offset: int) -> StudyList:
        """Return a page of studies."""
        page = self._index.studies(wanted, limit=limit, offset=offset)
        return StudyList(
            total=page.total, studies=tuple(self._summary(row) for row in page.studies)
        )

    def detail(self, study_uid: str) -> StudyDetail:
        """Return one study; `NotFound` when it is not here."""
        row = self._index.study(study_uid)
        newest = self._journal.workitems(study_uid=study_uid)[:1]
        current = {item.workitem_uid for item in newest}
        return StudyDetail(
            **self._summary(row).model_dump(),
            series=tuple(SeriesView.model_validate(s) for s in self._index.series_of(study_uid)),
            decisions=tuple(
                d for d in self._journal.decisions(study_uid) if d.workitem_uid in current
            ),
            workitems=self._journal.workitems(study_uid=study_uid),
            findings=tuple(
                f for f in self._journal.findings(study_uid) if f.workitem_uid in current
            ),
            results=self._results(study_uid),
            deliveries=self._journal.deliveries(study_uid=study_uid),
            set_aside=tuple(
                SetAsideView.model_validate(item) for item in self._index.set_aside(study_uid)
            ),
        )

    def _results(self, study_uid: str) -> tuple[StandingResult, ...]:
        results = self._journal.results(study_uid=study_uid)  # more may come while we look
        standings = Standings(self._index, self._journal).of_study(study_uid)
        return tuple(
            StandingResult(**r.model_dump(), standing=standings[r.instance_uid])
            for r in results
            if r.instance_uid in standings
        )

    def _summary(self, row: StudyRow) -> StudySummary:
        workitems = self._journal.workitems(study_uid=row.study_uid)
        results = self._journal.results(study_uid=row.study_uid)
        deliveries = self._journal.deliveries(study_uid=row.study_uid)
        series = self._index.series_of(row.study_uid)
        own = [s.modality for s in series if s.instances > s.results]
        newest = workitems[0] if workitems else None
        mine = [r for r in results if newest and r.workitem_uid == newest.workitem_uid]
        return StudySummary(
            study_uid=row.study_uid,
            patient_id=row.patient_id,
            patient_name=row.patient_name,
            study_date=row.study_date,
            description=row.description,
            accession_number=row.accession_number,
            modality="\\".join(sorted(set(own))),
            state=_state(row, newest, mine, deliveries=deliveries),
            completeness=row.completeness,
            completeness_text=row.completeness_text,
            analysed=any(r.kind in ANSWERS for r in mine),
            reason=(newest.reason_text or None) if newest else None,
            first_received_at=row.first_received_at,
            last_received_at=row.last_received_at,
        )


def _state(
    row: StudyRow,
    newest: Workitem | None,
    results: Sequence[Result],
    *,
    deliveries: Sequence[Delivery],
) -> StudyState:
    if row.state == "receiving":
        return "receiving"
    if newest is None or newest.state == "SCHEDULED":
        return "waiting"
    if newest.state == "IN PROGRESS":
        return "analysing"
    own = {result.instance_uid for result in results}
    items = [d for d in deliveries if d.instance_uid in own and d.state != "superseded"]
    held = any(result.state == "held" for result in results)
    if newest.state == "CANCELED" or held or _undelivered(items):
        return "failed"
    return "delivering" if any(d.state in {"waiting", "held"} for d in items) else "done"


def _undelivered(items: Sequence[Delivery]) -> bool:
    """Whether one was given up, or a destination refused all kinds of objects that it was sent."""
    taken: dict[str, bool] = {}
    for item in items:
        taken[item.destination] = taken.get(item.destination, False) or item.state != "refused"
    return any(item.state == "failed" for item in items) or not all(taken.values())
