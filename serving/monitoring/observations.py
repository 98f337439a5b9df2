"""The memory of observations: a row for each reading, gone with its study."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from dicom_node import schema
from dicom_node.schema_observations import observations as table
from imaging.verdict import Verdict
from serving.monitoring.observation import Observation
from serving.rows import Rows
from serving.tickets import Assignment

_MOST = 4_000  # readings of one model that are looked at, the newest: they must be read at once


class Remembered(Observation):
    """An observation, of which version and when; `verdicts` are those of readers on it."""

    digest: str
    at: float
    verdicts: tuple[Verdict, ...] = ()


class Observations(Rows):
    """The rows of observations."""

    def note(self, assignment: Assignment, digest: str, observation: Observation) -> None:
        """Remember a reading; the same one again takes the place of the first."""
        key = {
            "tenant": self._tenant,
            "workitem_uid": assignment["study"]["workitem_uid"],
            "series_uid": assignment["series_uid"],
            "model": assignment["model"],
        }
        values = {
            "study_uid": assignment["study"]["study_uid"],
            "digest": digest,
            "at": self._clock(),
            **observation.model_dump(mode="json"),
        }
        with schema.writing(self._engine) as db:
            dialect = postgresql if db.dialect.name == "postgresql" else sqlite
            insert = dialect.insert(table).values(key | values)
            db.execute(insert.on_conflict_do_update(index_elements=table.primary_key, set_=values))

    def models(self) -> tuple[str, ...]:
        """Return the models of which there is any, by name."""
        query = sa.select(table.c.model).where(*self._where(table)).distinct()
        with self._engine.connect() as db:
            return tuple(sorted(db.execute(query).scalars()))

    def of(self, model: str) -> tuple[Remembered, ...]:
        """Return the newest readings of a model, oldest first, with what readers said of them."""
        said = schema.assessments
        newest = sa.select(table).where(*self._where(table, model=model))
        verdicts = sa.select(said.c.workitem_uid, said.c.verdict).where(
            *self._where(said, model=model), said.c.current
        )
        with self._engine.connect() as db:
            rows = db.execute(newest.order_by(table.c.at.desc()).limit(_MOST)).mappings().all()
            heard: dict[str, list[str]] = {}
            for workitem_uid, verdict in db.execute(verdicts):
                heard.setdefault(workitem_uid, []).append(verdict)
        return tuple(
            Remembered.model_validate({**row, "verdicts": heard.get(row["workitem_uid"], ())})
            for row in reversed(rows)
        )
