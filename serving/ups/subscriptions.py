"""Who watches which steps, and the reports that each is still to be given (PS3.4 CC.2.3).

A report is kept until its subscriber has taken it; of one who never comes, the newest only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from dicom_node import schema
from imaging.dicom_json import JsonDataset
from imaging.errors import NotFound
from serving.ups.matching import Keys
from serving.ups.step import Step

ALL = "1.2.840.10008.5.1.4.34.5"  # every step, also those to come
FILTERED = "1.2.840.10008.5.1.4.34.5.1"  # of these such as match
_watchers, _reports = schema.ups.subscriptions, schema.ups.reports
_MOST_KEPT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A report that waits."""

    number: int
    content: JsonDataset


class Subscriptions:
    """The subscriptions of one tenant; safe to share between threads and processes."""

    def __init__(
        self,
        engine: sa.Engine,
        *,
        tenant: str,
        clock: Callable[[], float],
        most_kept: int = _MOST_KEPT,
    ) -> None:
        self._engine, self._tenant, self._clock = engine, tenant, clock
        self._most_kept = most_kept

    def subscribe(
        self, ae_title: str, ups_uid: str, *, keys: Mapping[str, str] | None = None
    ) -> None:
        """Watch one step, or all, or of these such as match `keys`."""
        with schema.writing(self._engine) as db:
            self._put(db, ae_title, ups_uid, wanted=True, keys=keys)

    def report(self, ae_title: str, content: JsonDataset) -> None:
        """Keep a report for one subscriber."""
        with schema.writing(self._engine) as db:
            self._keep(db, ae_title, [content])

    def unsubscribe(self, ae_title: str, ups_uid: str) -> None:
        """Watch one step, or any, no longer.

        Raises
        ------
        NotFound
            It was not watched.
        """
        with schema.writing(self._engine) as db:
            gone = sa.delete(_watchers).where(*self._of(ae_title))
            if ups_uid in {ALL, FILTERED}:
                number = db.execute(gone).rowcount
            else:
                number = db.execute(gone.where(_watchers.c.ups_uid == ups_uid)).rowcount
                if self._watches_all(db, ae_title):
                    self._put(db, ae_title, ups_uid, wanted=False)
                    number = 1
        if not number:
            msg = f"{ae_title} has not subscribed"
            raise NotFound(msg)

    def suspend(self, ae_title: str) -> None:
        """Watch no step that is created from now on; `NotFound` without a subscription to all."""
        all_of = (*self._of(ae_title), _watchers.c.ups_uid.in_((ALL, FILTERED)))
        with schema.writing(self._engine) as db:
            at = sa.func.coalesce(_watchers.c.suspended_at, self._clock())
            number = db.execute(
                sa.update(_watchers).where(*all_of).values(suspended_at=at)
            ).rowcount
        if not number:
            msg = f"{ae_title} has not subscribed to all workitems"
            raise NotFound(msg)

    def tell(self, db: sa.Connection, step: Step, told: Sequence[JsonDataset]) -> int:
        """Keep reports for all who watch a step, in the transaction that changes it."""
        if not told:
            return 0
        watching = self._watching(db, step)
        for ae_title in watching:
            self._keep(db, ae_title, told)
        return len(watching)

    def waiting(self, ae_title: str, *, limit: int) -> Sequence[Kept]:
        """Return what a subscriber is to be told, in order."""
        mine = (_reports.c.tenant == self._tenant, _reports.c.ae_title == ae_title)
        query = sa.select(_reports).where(*mine).order_by(_reports.c.id).limit(limit)
        with self._engine.connect() as db:
            return [Kept(number=row.id, content=row.content) for row in db.execute(query)]

    def taken(self, numbers: Sequence[int]) -> None:
        """Forget reports that were given."""
        with schema.writing(self._engine) as db:
            db.execute(sa.delete(_reports).where(_reports.c.id.in_(numbers)))

    def _watching(self, db: sa.Connection, step: Step) -> Sequence[str]:
        uids = (step.ups_uid, ALL, FILTERED)
        query = sa.select(_watchers).where(
            _watchers.c.tenant == self._tenant, _watchers.c.ups_uid.in_(uids)
        )
        rows = db.execute(query).all()
        own = {row.ae_title: row.wanted for row in rows if row.ups_uid == step.ups_uid}
        by_all = {
            row.ae_title
            for row in rows
            if row.ups_uid != step.ups_uid
            and (row.suspended_at is None or step.created_at <= row.suspended_at)
            and Keys(row.keys).fit(step)
        }
        return sorted({title for title in by_all if own.get(title, True)} | _true(own))

    def _watches_all(self, db: sa.Connection, ae_title: str) -> bool:
        query = sa.select(_watchers.c.ae_title).where(
            *self._of(ae_title), _watchers.c.ups_uid.in_((ALL, FILTERED))
        )
        return db.execute(query).first() is not None

    def _put(
        self,
        db: sa.Connection,
        ae_title: str,
        ups_uid: str,
        *,
        wanted: bool,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        key = {"tenant": self._tenant, "ae_title": ae_title, "ups_uid": ups_uid}
        same = sa.delete(_watchers).where(*self._of(ae_title), _watchers.c.ups_uid == ups_uid)
        db.execute(same)
        db.execute(sa.insert(_watchers).values(**key, wanted=wanted, keys=dict(keys or {})))

    def _keep(self, db: sa.Connection, ae_title: str, told: Sequence[JsonDataset]) -> None:
        key = {"tenant": self._tenant, "ae_title": ae_title}
        db.execute(sa.insert(_reports), [{**key, "content": each} for each in told])
        mine = (_reports.c.tenant == self._tenant, _reports.c.ae_title == ae_title)
        newest = sa.select(_reports.c.id).where(*mine).order_by(_reports.c.id.desc())
        oldest_kept = newest.offset(self._most_kept - 1).limit(1).scalar_subquery()
        db.execute(sa.delete(_reports).where(*mine, _reports.c.id < oldest_kept))

    def _of(self, ae_title: str) -> list[sa.ColumnElement[bool]]:
        return [_watchers.c.tenant == self._tenant, _watchers.c.ae_title == ae_title]


def _true(chosen: Mapping[str, bool]) -> set[str]:
    return {name for name, wanted in chosen.items() if wanted}
