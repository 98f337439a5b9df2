"""What people and the node may ask of the work: schedule, hurry, analyse again, cancel."""

from collections import defaultdict
from contextlib import suppress

import structlog

from dicom_node.arrival import CompleteStudy
from dicom_node.index import Index
from dicom_node.records import StudyRow
from dicom_node.routing import DEFAULT_PRIORITY, rule_for
from imaging.errors import Conflict, NotFound
from imaging.reasons import reason
from serving.engine import Client
from serving.journal import Journal
from serving.order import place
from serving.records import Delivery, Workitem
from serving.settings import Settings
from serving.studies import traits_of
from serving.tickets import (
    ANALYSE_STUDY,
    DELIVER_AGAIN,
    FILE_ASSESSMENT,
    StudyTicket,
    workitem_name,
)

_log = structlog.get_logger(__name__)
_AT_ONCE = 1


class Operations:
    """Starts and steers workitems. Every call may be repeated."""

    def __init__(
        self, *, settings: Settings, index: Index, journal: Journal, client: Client
    ) -> None:
        self._settings, self._index = settings, index
        self._journal, self._client = journal, client

    def schedule(self, study: CompleteStudy) -> bool:
        """Start the analysis of a complete study; the same content is analysed once.

        Returns False, and does nothing, while earlier content of the study is analysed: the older
        analysis must not end after the newer one, or its results would look current.
        """
        opened = self._open(study.study_uid)
        earlier = [item for item in opened if item.content_digest != study.content_digest]
        if any(map(self._is_known, earlier)):
            return False
        ticket = StudyTicket(
            workitem_uid=workitem_name(study.study_uid, study.content_digest),
            study_uid=study.study_uid,
            content_digest=study.content_digest,
            completeness=study.completeness,
            arrival_text=study.text,
            short={uid: list(counts) for uid, counts in study.short.items()},
        )
        self._start(ticket)
        for item in earlier:  # the node died between the row and the start
            self._journal.end(item.workitem_uid, "CANCELED", reason("OVERTAKEN"))
        return True

    def reanalyse(self, study_uid: str) -> Workitem:
        """Analyse what is there of a study again.

        Raises
        ------
        NotFound
            The study is not here.
        Conflict
            It is still arriving, or an analysis is waiting or running.
        """
        study = self._index.study(study_uid)
        known = self._journal.workitems(study_uid=study_uid)
        if study.state == "receiving" or study.content_digest is None:
            msg = "the study is still arriving; it is analysed when it is complete"
            raise Conflict(msg)
        if self._open(study_uid):
            msg = "an analysis of this study is waiting or running already"
            raise Conflict(msg)
        work_id = workitem_name(study_uid, study.content_digest, str(len(known) + 1))
        self._start(_again(study, study.content_digest, work_id))
        return self._workitem(work_id)

    def perform(self, workitem_uid: str, study_uid: str, priority: int) -> None:
        """Analyse what is there of a study as a work item asks, or hurry the analysis that does.

        Nothing happens while the study is still arriving or analysed for another reason.
        """
        item, study = self._journal.workitem(workitem_uid), self._index.study(study_uid)
        digest = item.content_digest if item else study.content_digest
        others = [each for each in self._open(study_uid) if each.workitem_uid != workitem_uid]
        if digest is None or (item is None and (study.state == "receiving" or others)):
            return
        if item is None or not self._is_known(item):
            self._start(_again(study, digest, workitem_uid), priority)
        elif item.state == "SCHEDULED" and priority < item.priority:
            with suppress(Conflict):  # it has begun meanwhile
                self._hurry(workitem_uid, priority)

    def cancel(self, workitem_uid: str) -> Workitem:
        """Stop a waiting or running workitem before its next step."""
        item = self._workitem(workitem_uid)
        if not item.is_open:
            msg = f"the workitem is {item.state} already"
            raise Conflict(msg)
        self._client.cancel([workitem_uid, *self._client.children(workitem_uid)])
        self._journal.end(workitem_uid, "CANCELED", reason("CANCELED_BY_USER"))
        return self._workitem(workitem_uid)

    def retry(self, workitem_uid: str) -> Workitem:
        """Analyse the study of an ended workitem again, deliveries included."""
        return self.reanalyse(self._workitem(workitem_uid).study_uid)

    def prioritise(self, uid: str, priority: int) -> Workitem:
        """Give a waiting workitem, or that of a study, another priority: lower ones run first.

        Raises
        ------
        NotFound
            There is neither.
        Conflict
            It does not wait.
        """
        known = self._journal.workitems(study_uid=uid)
        workitem_uid = known[0].workitem_uid if known else uid
        return self._hurry(workitem_uid, priority)

    def deliver_again(
        self, *, study_uid: str | None = None, destination: str | None = None
    ) -> tuple[Delivery, ...]:
        """Try again what was refused or given up, and release what is held.

        Of one study, to one destination, or all of it.

        Raises
        ------
        Conflict
            There is nothing of that kind.
        """
        items = [
            item
            for state in ("refused", "failed", "held")
            for item in self._journal.deliveries(study_uid=study_uid, state=state)
            if destination in {None, item.destination}
        ]
        if not items:
            msg = "nothing was refused, held or given up"
            raise Conflict(msg)
        together: dict[str, list[Delivery]] = defaultdict(list)
        for item in items:
            together[f"{item.workitem_uid}/to/{item.destination}"].append(item)
        for work_id, group in together.items():
            tries = sum(item.attempts for item in group)  # pressed twice, it starts once
            uids = sorted(item.instance_uid for item in group)
            self._client.start(
                DELIVER_AGAIN,
                f"{work_id}/again-{group[0].planned_at:.3f}-{tries}",
                group[0].destination,
                uids,
                priority=_AT_ONCE,
            )
        return tuple(items)

    def file_assessment(self, study_uid: str, number: int) -> None:
        """Let what readers think of a study be written into it; `number` is their newest row."""
        work_id = f"{study_uid}/assessment-{number}"
        self._client.start(FILE_ASSESSMENT, work_id, study_uid, priority=_AT_ONCE)

    def _hurry(self, workitem_uid: str, priority: int) -> Workitem:
        item = self._workitem(workitem_uid)
        if not self._journal.prioritise(workitem_uid, priority):
            msg = f"the workitem is {item.state} already"
            raise Conflict(msg)
        item = self._workitem(workitem_uid)
        self._client.reorder(workitem_uid, place(item.priority, item.turn))
        return item

    def _start(self, ticket: StudyTicket, priority: int | None = None) -> None:
        work_id, study = ticket["workitem_uid"], self._index.study(ticket["study_uid"])
        rule = rule_for(self._settings.rules, traits_of(self._index, study.study_uid))
        self._journal.schedule(
            work_id,
            study_uid=study.study_uid,
            content_digest=ticket["content_digest"],
            priority=priority or rule.priority or study.priority or DEFAULT_PRIORITY,
            sender=study.sender,
        )
        item = self._workitem(work_id)
        order = place(item.priority, item.turn)
        self._client.start(ANALYSE_STUDY, work_id, ticket, priority=order)
        _log.info("scheduled", study=ticket["study_uid"], workitem=work_id)

    def _open(self, study_uid: str) -> tuple[Workitem, ...]:
        items = self._journal.workitems(study_uid=study_uid)
        return tuple(item for item in items if item.is_open)

    def _is_known(self, item: Workitem) -> bool:
        """Whether the engine has begun, or will begin, an open workitem."""
        try:
            self._client.find(item.workitem_uid)
        except NotFound:
            return False
        return True

    def _workitem(self, workitem_uid: str) -> Workitem:
        item = self._journal.workitem(workitem_uid)
        if item is None:
            msg = f"there is no workitem {workitem_uid}"
            raise NotFound(msg)
        return item


def _again(study: StudyRow, digest: str, workitem_uid: str) -> StudyTicket:
    """Return a ticket for what is there of a study."""
    return StudyTicket(
        workitem_uid=workitem_uid,
        study_uid=study.study_uid,
        content_digest=digest,
        completeness=study.completeness or "",
        arrival_text=study.completeness_text,
        short={},
    )
