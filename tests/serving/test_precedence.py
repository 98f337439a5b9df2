"""The stored order of the worklist is that of the points, on both databases."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_node import schema
from dicom_node.index import Index
from imaging.findings import Urgency
from serving.assessments import AssessmentRequest, Assessments
from serving.journal import Journal
from serving.precedence import settle_all
from serving.records import FindingRecord, ReasonRecord
from serving.room.worklist import MOST_COUNTED, Line, Wanted, Worklist
from tests.postgresql import engine, postgresql_server, postgresql_url

__all__ = ["engine", "postgresql_server", "postgresql_url"]

HOUR = 3600.0
NOW = 1_764_000_000.0 + 7 * HOUR
UNSURE = ReasonRecord(code="LOW_CONFIDENCE", text="unsure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A study: how long it waits, what each of its analyses found, and what readers said."""

    hours: float
    touched: float
    priority: int
    analyses: tuple[tuple[FindingRecord, ...], ...]
    verdicts: tuple[str, ...]
    hastened: int | None


# Quarters of hours and sixteenths, so that sums are exact and equal points are really equal.
quarters = st.integers(-8, 4 * 100).map(lambda n: n / 4)
found = st.builds(
    FindingRecord,
    workitem_uid=st.just(""),
    series_uid=st.just("1.2"),
    model=st.just("m"),
    tracking_uid=st.just(""),
    concept=st.just("Glioma"),
    statement=st.just("Glioma"),
    urgency=st.sampled_from(Urgency),
    probability=st.one_of(st.none(), st.integers(0, 16).map(lambda n: n / 16)),
    abstained=st.sampled_from([None, None, UNSURE]),
    key_instance=st.none(),
)
made = st.builds(
    Made,
    hours=st.one_of(quarters, st.integers(40, 56).map(lambda n: n / 4)),
    touched=st.integers(0, 3).map(float),
    priority=st.sampled_from([1, 2, 4, 5, 7]),
    analyses=st.lists(st.lists(found, max_size=2).map(tuple), max_size=2).map(tuple),
    verdicts=st.lists(st.sampled_from(["accepted", "rejected", "undone"]), max_size=2).map(tuple),
    hastened=st.sampled_from([None, None, 1, 5]),
)


class Site:
    """A tenant of its own with studies as the work leaves them."""

    def __init__(self, engine: sa.Engine, tenant: str) -> None:
        self.engine, self.tenant, self.now = engine, tenant, itertools.count(1)
        clock: Callable[[], float] = lambda: float(next(self.now))  # noqa: E731
        self.journal = Journal(engine, tenant=tenant, clock=clock)
        self.assessments = Assessments(engine, tenant=tenant, clock=clock)
        self.worklist = Worklist(Index(engine, tenant))

    def arrived(self, uid: str, study: Made) -> None:
        row: dict[str, Any] = {c.name: "" for c in schema.studies.c if isinstance(c.type, sa.Text)}
        row |= {"tenant": self.tenant, "study_uid": uid, "state": "complete", "received": 1}
        first = NOW - study.hours * HOUR
        row |= {"first_received_at": first, "last_received_at": first + study.touched}
        with schema.writing(self.engine) as db:  # as an upgrade leaves what was there before
            db.execute(sa.insert(schema.studies).values(row))

    def worked_on(self, uid: str, study: Made) -> None:
        for n, analysis in enumerate(study.analyses):
            item = f"{uid}-{n}"
            given = {"study_uid": uid, "content_digest": "", "priority": study.priority}
            self.journal.schedule(item, **given)
            named = [
                f.model_copy(update={"workitem_uid": item, "tracking_uid": f"{uid}.{m}"})
                for m, f in enumerate(analysis)
            ]
            self.journal.record_findings(uid, named)
            if study.hastened:
                self.journal.prioritise(item, study.hastened)
        for finding, verdict in zip(
            self.journal.current_findings(uid), study.verdicts, strict=False
        ):
            self.judge(uid, finding, verdict)

    def judge(self, uid: str, finding: FindingRecord, verdict: str) -> None:
        given = {"verdict": verdict} if verdict == "accepted" else REJECTED
        wanted = AssessmentRequest.model_validate(given)
        records = self.assessments.assess([finding], wanted, study_uid=uid, reader="local")
        if verdict == "undone":
            self.assessments.undo(uid, records[0].action, reader="local")

    def by_points(self, uids: list[str]) -> dict[bool | None, list[str]]:
        """The order of the points that each study shows, worked out study by study."""
        lines = [line for uid in uids if (line := self.worklist.line(uid, now=NOW))]
        lines.sort(key=_place)
        return {
            read: [line.study.study_uid for line in lines if read in (None, line.read)]
            for read in (False, True, None)
        }

    def listed(self, *, read: bool | None, limit: int) -> list[str]:
        """The list, page by page."""
        shown: list[str] = []
        while True:
            page = self.worklist.page(Wanted(read=read), now=NOW, limit=limit, offset=len(shown))
            shown += [line.study.study_uid for line in page.lines]
            if page.is_last:
                assert page.total == len(shown)
                return shown


REJECTED = {"verdict": "rejected", "reason": "NOT_PRESENT"}


def _place(line: Line) -> tuple[float, float, str]:
    return -line.standing.points, -line.study.last_received_at, line.study.study_uid


def test_the_stored_order_is_that_of_the_points(engine: sa.Engine):
    numbers = itertools.count()

    @settings(
        max_examples=6,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(studies=st.lists(made, min_size=8, max_size=12), limit=st.integers(3, 5))
    def check(studies: list[Made], limit: int) -> None:
        site = Site(engine, f"t{next(numbers)}")
        uids = [f"1.2.{n}" for n in range(len(studies))]
        for uid, study in zip(uids, studies, strict=True):
            site.arrived(uid, study)
        for uid, study in zip(uids, studies, strict=True):
            site.worked_on(uid, study)
        settle_all(engine, site.tenant)  # what no work settled
        wanted = site.by_points(uids)
        for read, uids_in_order in wanted.items():
            assert site.listed(read=read, limit=limit) == uids_in_order
        with schema.writing(engine) as db:
            mine = schema.studies.c.tenant == site.tenant
            unsettled = {"head_start_h": None, "due_at": 0.0, "half_day": 0, "unread": True}
            db.execute(sa.update(schema.studies).where(mine).values(unsettled))
        settle_all(engine, site.tenant)
        assert site.listed(read=False, limit=limit) == wanted[False]

    check()


def test_a_page_reads_only_the_beginnings_of_ranges(tmp_path: Path):
    """No range of the merged query is sorted whole, whatever the database has counted."""
    engine = schema.connect(f"sqlite:///{tmp_path}/one.db")
    schema.upgrade(engine)
    asked: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        asked.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    site = Site(engine, "default")
    site.worklist.page(Wanted(), now=NOW, limit=50)
    (merged,) = [statement for statement in asked if "UNION ALL" in statement]
    with engine.connect() as db:
        values = [0] * merged.count("?")
        plan = db.exec_driver_sql(f"EXPLAIN QUERY PLAN {merged}", tuple(values)).all()
    searches = [row[3] for row in plan if "studies" in row[3]]
    assert sum("studies_by_due" in step for step in searches) == len(searches) - 1
    assert sum("studies_by_head_start" in step for step in searches) == 1
    engine.dispose()


def test_many_studies_are_not_counted_to_the_end(tmp_path: Path):
    engine = schema.connect(f"sqlite:///{tmp_path}/one.db")
    schema.upgrade(engine)
    row: dict[str, Any] = {c.name: "" for c in schema.studies.c if isinstance(c.type, sa.Text)}
    row |= {"tenant": "default", "state": "complete", "received": 1}
    row |= {"first_received_at": NOW, "last_received_at": NOW}
    with schema.writing(engine) as db:
        rows = [row | {"study_uid": f"1.{n}"} for n in range(MOST_COUNTED + 2)]
        db.execute(sa.insert(schema.studies), rows)
    settle_all(engine, "default")
    page = Worklist(Index(engine)).page(Wanted(), now=NOW, limit=50)
    assert (page.is_counted, page.total, page.is_last) == (False, MOST_COUNTED + 1, False)
    engine.dispose()
