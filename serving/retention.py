"""Which studies need not be kept any longer, why the others stay, and removing them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import sqlalchemy as sa
import structlog

from dicom_node import schema
from dicom_node.index import Index
from dicom_node.removal import Removal
from dicom_node.schema_messages import messages
from dicom_node.schema_observations import observations
from dicom_node.schema_shadow import shadow_readings
from imaging.errors import NotFound
from serving.assessments import Assessments
from serving.engine import Client
from serving.journal import Journal
from serving.records import OPEN, Delivery, Result, Workitem
from serving.sections import RetentionSettings

Kept: TypeAlias = Literal["receiving", "in work", "unanalysed", "undelivered", "unassessed"]

_log = structlog.get_logger(__name__)
_DAY_S = 86400.0
_GIGABYTE = 1 << 30
_SETTLED = ("proven", "superseded")
_SET_ASIDE = ("POISON", "OUT_OF_MEMORY", "TIME_LIMIT", "INTERNAL_ERROR")
_TABLES = (
    schema.assessments,
    schema.deliveries,
    schema.results,
    schema.findings,
    schema.decisions,
    schema.workitems,
    schema.ups.steps,
    messages,
    shadow_readings,
    observations,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A study that a limit says should go, and why it stays all the same."""

    study_uid: str
    received: int
    last_received_at: float
    size: int
    because: str = ""
    kept: Kept | None = None


class Retention:
    """Judges and removes; every call may be repeated and may be killed anywhere."""

    def __init__(
        self,
        settings: RetentionSettings,
        *,
        removal: Removal,
        index: Index,
        journal: Journal,
        assessments: Assessments,
        client: Client,
    ) -> None:
        self._settings, self._removal, self._index = settings, removal, index
        self._journal, self._assessments, self._client = journal, assessments, client

    def plan(self, now: float) -> tuple[Candidate, ...]:
        """Return what is beyond a limit, oldest first: what would go, and what stays and why."""
        if not self._settings.limited:
            return ()
        return tuple(self._beyond(now))

    def run(self, now: float) -> tuple[Candidate, ...]:
        """Remove what need not be kept, and finish what was begun; return what went."""
        self._removal.finish()
        may_go = (each for each in self.plan(now) if each.kept is None)
        gone = tuple(each for each in may_go if self._remove(each, now))
        if gone:
            size = sum(each.size for each in gone)
            _log.info("studies_removed", studies=len(gone), bytes=size)
        return gone

    def _beyond(self, now: float) -> Iterator[Candidate]:
        """Give the studies that a limit says should go; what must stay frees no room."""
        limits = self._settings
        sizes = self._sizes()
        left = sum(sizes.values()) - limits.max_gb * _GIGABYTE if limits.max_gb else 0.0
        oldest = now - limits.max_age_days * _DAY_S if limits.max_age_days else 0.0
        for candidate in self._by_age(sizes):
            if candidate.last_received_at < oldest:
                because = f"older than {limits.max_age_days:g} days"
            elif left > 0:
                because = f"more than {limits.max_gb:g} GB are kept"
            else:
                return
            kept = self._why_kept(candidate.study_uid)
            left -= 0 if kept else candidate.size
            yield replace(candidate, because=because, kept=kept)

    def _sizes(self) -> Mapping[str, int]:
        table = schema.instances
        query = (
            sa.select(table.c.study_uid, sa.func.sum(table.c.size))
            .where(table.c.tenant == self._index.tenant)
            .group_by(table.c.study_uid)
        )
        with self._index.engine.connect() as db:
            return {row[0]: int(row[1]) for row in db.execute(query)}

    def _by_age(self, sizes: Mapping[str, int]) -> Iterator[Candidate]:
        table = schema.studies
        query = (
            sa.select(table.c.study_uid, table.c.received, table.c.last_received_at)
            .where(table.c.tenant == self._index.tenant)
            .order_by(table.c.last_received_at, table.c.study_uid)
        )
        with self._index.engine.connect() as db:
            rows = db.execute(query).all()
        for uid, received, at in rows:
            yield Candidate(
                study_uid=uid,
                received=received,
                last_received_at=at,
                size=sizes.get(uid, 0),
            )

    def _why_kept(self, study_uid: str) -> Kept | None:
        """Return why a study must stay, the first of what holds."""
        reasons = dict(zip(get_args(Kept), self._holding(study_uid), strict=True))
        return next((why for why, holds in reasons.items() if holds), None)

    def _holding(self, study_uid: str) -> Iterator[bool]:
        items = self._journal.workitems(study_uid=study_uid)
        study = self._index.study(study_uid)
        yield study.state != "complete"
        yield any(item.is_open for item in items) or self._is_asked_for(study_uid)
        yield not items or not _is_analysed(items[0], study.content_digest)
        yield self._is_undelivered(study_uid) or self._is_untold(study_uid)
        yield self._settings.keep_unassessed and self._is_unassessed(study_uid)

    def _is_asked_for(self, study_uid: str) -> bool:
        """Whether a work item of another system is open."""
        steps = schema.ups.steps
        mine = (steps.c.tenant == self._index.tenant, steps.c.study_uid == study_uid)
        query = sa.select(steps.c.ups_uid).where(*mine, steps.c.pushed, steps.c.state.in_(OPEN))
        with self._index.engine.connect() as db:
            return db.execute(query).first() is not None

    def _is_untold(self, study_uid: str) -> bool:
        """Whether another system is still to be told of a study."""
        mine = (messages.c.tenant == self._index.tenant, messages.c.study_uid == study_uid)
        query = sa.select(messages.c.seq).where(*mine, messages.c.state == "waiting")
        with self._index.engine.connect() as db:
            return db.execute(query).first() is not None

    def _is_undelivered(self, study_uid: str) -> bool:
        results = self._journal.results(study_uid=study_uid)
        if any(map(_is_held, results)):
            return True
        said = max((each.at for each in self._assessments.history(study_uid)), default=0.0)
        written = (each.created_at for each in results if each.kind == "ASSESSMENT")
        if said > max(written, default=0.0):  # a verdict that no document states yet
            return True
        return not _is_delivered(self._journal.deliveries(study_uid=study_uid))

    def _is_unassessed(self, study_uid: str) -> bool:
        found = {finding.tracking_uid for finding in self._journal.current_findings(study_uid)}
        return bool(found - self._assessments.holding(study_uid).keys())

    def _remove(self, candidate: Candidate, now: float) -> bool:
        """Remove one study; False when it has changed since it was judged."""
        uid = candidate.study_uid
        # First what the engine remembers: sent again, the same content must be analysed again.
        if not (self._client.forget(f"{uid}-") and self._client.forget(f"{uid}/")):
            return False
        patient_id = self._index.study(uid).patient_id
        with schema.writing(self._index.engine) as db:
            if not self._removal.is_unchanged(db, uid, received=candidate.received):
                return False
            if self._still_kept(uid) is not None:
                return False
            self._forget_commitments(db, uid)
            for table in _TABLES:
                where = (table.c.tenant == self._index.tenant, table.c.study_uid == uid)
                db.execute(sa.delete(table).where(*where))
            self._removal.forget(db, uid)
            self._note(db, candidate, now)
        _log.info("study_removed", study=uid, bytes=candidate.size, because=candidate.because)
        self._removal.tell(uid, patient_id, candidate.because)
        self._removal.finish()
        return True

    def _forget_commitments(self, db: sa.Connection, study_uid: str) -> None:
        """Delete what destinations were asked to commit to of a study."""
        sent, asked = schema.deliveries, schema.commitments
        mine = sa.select(sent.c.transaction_uid).where(
            sent.c.tenant == self._index.tenant,
            sent.c.study_uid == study_uid,
            sent.c.transaction_uid.is_not(None),
        )
        where = (asked.c.tenant == self._index.tenant, asked.c.transaction_uid.in_(mine))
        db.execute(sa.delete(asked).where(*where))

    def _still_kept(self, study_uid: str) -> Kept | None:
        try:
            return self._why_kept(study_uid)
        except NotFound:
            return "receiving"

    def _note(self, db: sa.Connection, candidate: Candidate, now: float) -> None:
        text = f"removed: {candidate.because}; {candidate.size} bytes"
        row = {
            "at": now,
            "kind": "removed",
            "study_uid": candidate.study_uid,
            "workitem_uid": "",
            "text": text,
        }
        db.execute(sa.insert(schema.events).values(tenant=self._index.tenant, **row))


def _is_analysed(newest: Workitem, content_digest: str | None) -> bool:
    """Whether the newest analysis read what is here; what was set aside may be tried again."""
    if newest.state == "CANCELED" or newest.reason_code in _SET_ASIDE:
        return False
    return newest.content_digest == content_digest


def _is_held(result: Result) -> bool:
    """Whether a result failed its checks, so that it was never sent, and nothing replaced it."""
    return result.state == "held" and result.superseded_by is None


def _is_delivered(items: tuple[Delivery, ...]) -> bool:
    """Whether all is where it belongs; what was refused, if something else arrived in its place."""
    arrived = {
        (item.workitem_uid, item.destination)
        for item in items
        if item.state == "proven" or (item.state == "delivered" and item.proof)
    }
    return all(
        item.state in _SETTLED
        or (item.state == "delivered" and bool(item.proof))
        or (item.state == "refused" and (item.workitem_uid, item.destination) in arrived)
        for item in items
    )
