"""Wetread as performer (IHE Radiology AIW-I): claims the work items of others that it can do.

Everything is repeated until it is done: a claim names its analysis before that is started, so a
process may die between any two steps.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from dicom_node.index import Index
from dicom_node.records import StudyRow
from imaging.dicom_json import JsonDataset
from imaging.errors import NotFound
from imaging.priority import HIGH, LOW, ROUTINE, STAT
from imaging.reasons import Reason, reason
from serving.journal import Journal
from serving.operations import Operations
from serving.tickets import workitem_name
from serving.ups import rules
from serving.ups.analyses import SCHEME, Analyses, new_uid
from serving.ups.dataset import codes, first, one, sequence, values
from serving.ups.fetching import Fetching
from serving.ups.states import State
from serving.ups.step import Narrowed, Step
from serving.ups.worklist import Worklist

_log = structlog.get_logger(__name__)
_OPEN = (State.SCHEDULED, State.IN_PROGRESS)
_DONE, _STAGE = "00741004", "00741006"
_INSTANCES = (rules.INPUT, "00081199", "00081155")
_SHOWN = 12
_PRIORITIES = {"STAT": STAT, "HIGH": HIGH, "MEDIUM": ROUTINE, "LOW": LOW}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What we do, by codes as value^scheme or by names of models, and under which AE title."""

    ae_title: str
    task_codes: Sequence[str]
    models: Sequence[str]

    def covers(self, step: Step) -> bool:
        """Whether a step asks for it, of us or of anybody, and its input is ready."""
        ours = {tuple(each.split("^", 1)) for each in self.task_codes}
        ours |= {(model, SCHEME) for model in self.models}
        stations = [value for value, _ in codes(step.content, rules.STATIONS)]
        return (
            first(step.content, rules.READINESS) == "READY"
            and (not stations or self.ae_title in stations)
            and not ours.isdisjoint(codes(step.content, rules.CODES))
        )


class Performer:
    """Looks through the worklist of one tenant; several may do so at once."""

    def __init__(
        self,
        worklist: Worklist,
        analyses: Analyses,
        *,
        operations: Operations,
        index: Index,
        journal: Journal,
        fetching: Fetching,
    ) -> None:
        self._worklist, self._analyses, self._operations = worklist, analyses, operations
        self._index, self._journal, self._fetching = index, journal, fetching

    def look(self, offer: Offer) -> None:
        """Claim what is ours to do, and go on with what is claimed."""
        self._analyses.catch_up()
        for step in list(self._worklist.find(Narrowed(states=_OPEN, pushed=True))):
            try:
                self._look_at(step, offer)
            except NotFound as error:  # its study is being removed
                _log.warning("work_item_waits", ups=step.ups_uid, why=str(error))
        self._analyses.catch_up()

    def _look_at(self, step: Step, offer: Offer) -> None:
        if step.workitem_uid is not None:
            self._go_on(step, step.workitem_uid)
        elif step.state is State.SCHEDULED and offer.covers(step):
            why = self._claim(step)
            if why is not None:
                self._note(step, {_STAGE: one("ST", why.text)})

    def _claim(self, step: Step) -> Reason | None:
        """Claim a step and start its analysis; return why not, ``None`` also if it must wait."""
        uids = {str(uid) for uid in values(step.content, rules.INPUT, rules.STUDY)}
        uids = uids or set(values(step.content, rules.STUDY))
        if len(uids) != 1:
            return reason("INPUT_UNCLEAR", count=len(uids))
        study = self._study(step, uids.pop())
        if study is None:
            self._fetching.ask(step.ups_uid, step.content)
            return reason("INPUT_NOT_HERE")
        patient = first(step.content, rules.PATIENT)
        if patient and study.patient_id and patient != study.patient_id:
            return reason("INPUT_OF_ANOTHER_PATIENT")
        workitem_uid = self._analysis_for(step, study)
        if workitem_uid is not None and self._take(step, workitem_uid):
            _log.info("claimed", study=study.study_uid, workitem=workitem_uid)
            self._start(step, workitem_uid, study.study_uid)
        return None

    def _study(self, step: Step, study_uid: str) -> StudyRow | None:
        """Return the study that a step names, if all of its images that are named are here."""
        try:
            study = self._index.study(study_uid)
        except NotFound:
            return None
        here = {each.instance_uid for each in self._index.instances_of(study_uid)}
        return study if here.issuperset(values(step.content, *_INSTANCES)) else None

    def _analysis_for(self, step: Step, study: StudyRow) -> str | None:
        """Return the analysis that performs a step: one that is open, or a new one."""
        digest = study.content_digest
        if study.state == "receiving" or digest is None:
            return None
        opened = [w for w in self._journal.workitems(study_uid=study.study_uid) if w.is_open]
        if not opened:
            own = hashlib.sha256(step.ups_uid.encode()).hexdigest()[:_SHOWN]
            return workitem_name(study.study_uid, digest, own)
        return next((w.workitem_uid for w in opened if w.content_digest == digest), None)

    def _take(self, step: Step, workitem_uid: str) -> bool:
        with self._worklist.changing(step.ups_uid) as change:
            if change.after.state is not State.SCHEDULED:
                return False
            content = rules.stamped(change.after.content, self._worklist.clock())
            content[rules.PROGRESS] = {"vr": "SQ"}
            change.set(
                state=State.IN_PROGRESS,
                transaction_uid=new_uid(),
                workitem_uid=workitem_uid,
                content=content,
            )
        return True

    def _start(self, step: Step, workitem_uid: str, study_uid: str) -> None:
        priority = _PRIORITIES[first(step.content, rules.PRIORITY)]
        self._operations.perform(workitem_uid, study_uid, priority)

    def _go_on(self, step: Step, workitem_uid: str) -> None:
        """Start an analysis whose start was cut off, and say how far one has come."""
        item = self._journal.workitem(workitem_uid)
        if item is None or item.state == State.SCHEDULED:
            study_uid = item.study_uid if item else _study_of(workitem_uid)
            self._start(step, workitem_uid, study_uid)
            return
        decisions = self._journal.decisions(item.study_uid)
        chosen = {d.model for d in decisions if d.chosen and d.workitem_uid == workitem_uid}
        done = {name.split("/")[0] for name in item.timings} & chosen
        share = round(100 * len(done) / len(chosen)) if chosen else 0
        self._note(step, {_DONE: one("DS", share), _STAGE: one("ST", item.stage)})

    def _note(self, step: Step, progress: JsonDataset) -> None:
        """Show how a step stands, or why it waits."""
        if step.content.get(rules.PROGRESS) == sequence(progress):
            return
        with self._worklist.changing(step.ups_uid) as change:
            if change.after.state is step.state:
                content = {**change.after.content, rules.PROGRESS: sequence(progress)}
                change.set(content=rules.stamped(content, self._worklist.clock()))


def _study_of(workitem_uid: str) -> str:
    return workitem_uid.split("-", 1)[0]
