"""The memory of shadow readings: which are still to be made, and what came of the others.

A reading is begun and ended by one row, so one that is killed is made again and counts once. It is
never planned: what the served version has read since the shadow began is what it has to read.
"""

from base64 import b64decode
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from dicom_node import schema
from dicom_node.schema_shadow import shadow_readings as table
from serving.records import OPEN, FindingRecord, Record
from serving.rows import Rows
from serving.shadow.comparison import Comparison
from serving.tickets import Assignment, StudyTicket

MOST_TRIES = 5
ReadingState = Literal["begun", "compared", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A version that is tried out, since when, and the version that is served."""

    model: str
    digest: str
    served: str
    since: float


class Reading(Record):
    """One reading of one series by a version that is tried out."""

    workitem_uid: str
    series_uid: str
    stack: str
    digest: str
    study_uid: str
    model: str
    served: str
    state: ReadingState
    why: str
    attempts: int
    at: float
    comparison: Comparison | None


class Said(Record):
    """What a version said, and how that compares; or the code of why it said nothing.

    `served` is the digest of what it is compared with; `segmentation` is a DICOM Segmentation,
    compressed and in Base64.
    """

    why: str = ""
    served: str = ""
    comparison: Comparison | None = None
    findings: tuple[FindingRecord, ...] = ()
    segmentation: str = ""


class ShadowReadings(Rows):
    """The rows of shadow readings."""

    def work_waits(self) -> bool:
        """Whether any study waits or is in work: then nothing is read in the shadow."""
        items = schema.workitems
        query = sa.select(items.c.workitem_uid).where(
            items.c.tenant == self._tenant, items.c.state.in_(OPEN)
        )
        with self._engine.connect() as db:
            return db.execute(query.limit(1)).first() is not None

    def next_for(self, shadow: Shadow) -> Assignment | None:
        """Return the oldest reading that a shadow has still to make."""
        chosen, items, studies = schema.decisions, schema.workitems, schema.studies
        ours = sa.and_(
            table.c.tenant == chosen.c.tenant,
            table.c.workitem_uid == chosen.c.workitem_uid,
            table.c.series_uid == chosen.c.series_uid,
            table.c.stack == chosen.c.stack,
            table.c.digest == shadow.digest,
        )
        item = sa.and_(
            items.c.tenant == chosen.c.tenant, items.c.workitem_uid == chosen.c.workitem_uid
        )
        study = sa.and_(
            studies.c.tenant == chosen.c.tenant, studies.c.study_uid == chosen.c.study_uid
        )
        query = (
            sa.select(chosen, items.c.content_digest)
            .join(items, item)
            .join(studies, study)
            .outerjoin(table, ours)
            .where(
                chosen.c.tenant == self._tenant,
                chosen.c.model == shadow.model,
                chosen.c.chosen,
                items.c.state == "COMPLETED",
                items.c.ended_at >= shadow.since,
                # Only what is still as it was read.
                studies.c.content_digest == items.c.content_digest,
                sa.or_(
                    table.c.state.is_(None),
                    sa.and_(table.c.state == "begun", table.c.attempts < MOST_TRIES),
                ),
            )
            .order_by(items.c.ended_at, chosen.c.workitem_uid)
            .limit(1)
        )
        with self._engine.connect() as db:
            row = db.execute(query).first()
        return None if row is None else _assignment(row, shadow)

    def begin(self, assignment: Assignment, shadow: Shadow) -> bool:
        """Note that a reading begins, once more perhaps; False when the study has gone."""
        study = assignment["study"]
        row = {
            **self._key(assignment),
            "study_uid": study["study_uid"],
            "model": shadow.model,
            "served": shadow.served,
            "state": "begun",
            "why": "",
            "attempts": 1,
            "at": self._clock(),
        }
        with schema.writing(self._engine) as db:
            there = (
                sa.select(schema.studies.c.study_uid)
                .where(*self._where(schema.studies, study_uid=study["study_uid"]))
                .with_for_update()  # a removal comes before, or takes this row along
            )
            if db.execute(there).first() is None:
                return False
            dialect = postgresql if db.dialect.name == "postgresql" else sqlite
            insert = dialect.insert(table).values(row)
            again = {"attempts": table.c.attempts + 1, "at": row["at"]}
            db.execute(insert.on_conflict_do_update(index_elements=table.primary_key, set_=again))
        return True

    def keep(self, assignment: Assignment, said: Said) -> None:
        """Keep what a reading gave; nothing of a study that was removed meanwhile."""
        compared = said.comparison.model_dump(mode="json") if said.comparison else None
        self._set(
            assignment,
            state="failed" if said.why else "compared",
            why=said.why,
            at=self._clock(),
            comparison=compared,
            findings=[each.model_dump(mode="json") for each in said.findings],
            segmentation=b64decode(said.segmentation) or None,
            **({"served": said.served} if said.served else {}),
        )

    def take_back(self, assignment: Assignment) -> None:
        """Let a try not count."""
        self._set(assignment, attempts=table.c.attempts - 1)

    def of(self, model: str, digest: str) -> tuple[Reading, ...]:
        """Return the readings of a version, oldest first."""
        columns = [c for c in table.c if c.name not in {"segmentation", "findings", "tenant"}]
        query = sa.select(*columns).where(*self._where(table, model=model, digest=digest))
        with self._engine.connect() as db:
            rows = db.execute(query.order_by(table.c.at, table.c.workitem_uid))
            return tuple(Reading.model_validate(row) for row in rows)

    def _set(self, assignment: Assignment, **values: object) -> None:
        where = [table.c[name] == value for name, value in self._key(assignment).items()]
        with schema.writing(self._engine) as db:
            db.execute(sa.update(table).where(*where).values(**values))

    def _key(self, assignment: Assignment) -> dict[str, str]:
        return {
            "tenant": self._tenant,
            "workitem_uid": assignment["study"]["workitem_uid"],
            "series_uid": assignment["series_uid"],
            "stack": str(assignment["stack"]),
            "digest": assignment["digests"][assignment["model"]],
        }


def _assignment(row: sa.Row[tuple[object, ...]], shadow: Shadow) -> Assignment:
    study = StudyTicket(
        workitem_uid=row.workitem_uid,
        study_uid=row.study_uid,
        content_digest=row.content_digest,
        completeness="",
        arrival_text="",
        short={},
    )
    return Assignment(
        study=study,
        series_uid=row.series_uid,
        stack=int(row.stack),
        model=shadow.model,
        destinations=[],
        digests={shadow.model: shadow.digest},
    )
