"""Our analyses on the worklist: each is a step, which follows its workitem from state to state."""

import uuid
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace

from dicom_node.index import Index
from dicom_node.records import StoredInstance, StudyRow
from imaging.dicom_json import JsonDataset, name_of
from imaging.errors import Conflict, NotFound
from imaging.identity import derived_uid
from imaging.priority import HIGH, ROUTINE
from serving.journal import Journal
from serving.records import ANSWERS, Workitem
from serving.ups import rules
from serving.ups.dataset import code, date_time, one, sequence
from serving.ups.states import State
from serving.ups.step import Step
from serving.ups.worklist import Worklist

SCHEME = "99WETREAD"
_AT_ONCE = 100
_TASK = code("110004", "DCM", "Computer Aided Detection")


class Analyses:
    """Keeps the steps of our analyses up to date; every call may be repeated by any process."""

    def __init__(
        self, worklist: Worklist, journal: Journal, index: Index, *, ae_title: str
    ) -> None:
        self._worklist, self._journal, self._index = worklist, journal, index
        self._ae_title = ae_title

    def catch_up(self) -> None:
        """Bring steps to the state of their analyses: many at a time, the first ended first."""
        for workitem_uid in self._worklist.behind(limit=_AT_ONCE):
            item = self._journal.workitem(workitem_uid)
            if item is not None:
                with suppress(NotFound):  # its study is being removed
                    self._follow(item)

    def input_of(self, step: Step) -> JsonDataset:
        """Return the content of a step, of our own with the images that are analysed."""
        if step.pushed:
            return step.content
        study_uid = str(step.content[rules.STUDY]["Value"][0])
        received = [i for i in self._index.instances_of(study_uid) if i.origin == "received"]
        return {**step.content, rules.INPUT: sequence(*self._references(received))}

    def _follow(self, item: Workitem) -> None:
        results = self._journal.results(workitem_uid=item.workitem_uid)
        answered = any(result.kind in ANSWERS for result in results)
        steps = self._worklist.performing(item.workitem_uid)
        if not steps:
            with suppress(Conflict):  # another process was faster
                self._worklist.create(self._shown(item))
        for step in steps:
            self._move(step.ups_uid, item, _outcome_state(step, item, answered=answered))

    def _shown(self, item: Workitem) -> Step:
        """Return an analysis as a new step, in the state that it has come to."""
        uid, study = ups_uid(item.workitem_uid), self._index.study(item.study_uid)
        content = {**_described(item, study), **rules.created_by_us(uid)}
        step = Step(
            ups_uid=uid,
            content=rules.stamped(content, item.created_at),
            pushed=False,
            created_at=item.created_at,
            workitem_uid=item.workitem_uid,
        )
        state = State(item.state)
        step = step if state is State.SCHEDULED else _begun(step)
        return self._ended(step, item, state) if state.final else step

    def _move(self, uid: str, item: Workitem, wanted: State) -> None:
        """Take a step through every state between its own and the wanted one."""
        with self._worklist.changing(uid) as change:
            if change.after.state is State.SCHEDULED and wanted is not State.SCHEDULED:
                change.after = _begun(change.after)
        with self._worklist.changing(uid) as change:
            if change.after.state is State.IN_PROGRESS and wanted.final:
                change.after = self._ended(change.after, item, wanted)

    def _ended(self, step: Step, item: Workitem, state: State) -> Step:
        at = item.ended_at or self._worklist.clock()
        content = rules.stamped({**step.content, **self._outcome(step, item, state)}, at)
        return replace(step, state=state, content=content, ended_at=at)

    def _outcome(self, step: Step, item: Workitem, wanted: State) -> JsonDataset:
        began, ended = item.started_at or item.ended_at or 0.0, item.ended_at or 0.0
        results = [
            stored
            for result in self._journal.results(workitem_uid=item.workitem_uid)
            if result.state == "valid" and (stored := self._index.instance(result.instance_uid))
        ]
        progress: JsonDataset = {}
        if item.reason_text:
            progress["00741006"] = one("ST", item.reason_text[:1024])
        if wanted is State.CANCELED:
            why = code(item.reason_code, SCHEME, item.reason_text)
            progress[rules.CANCELED_AT] = one("DT", date_time(ended))
            progress[rules.REASON] = one("LT", item.reason_text)
            progress[rules.DISCONTINUED] = sequence(why)
        performed: JsonDataset = {
            "00404028": sequence(code(self._ae_title, SCHEME, "Wetread")),
            "00404019": step.content.get(rules.CODES) or sequence(_TASK),
            "00404050": one("DT", date_time(began)),
            "00404051": one("DT", date_time(ended)),
            rules.OUTPUT: sequence(*self._references(results)),
        }
        return {rules.PROGRESS: sequence(progress), rules.PERFORMED: sequence(performed)}

    def _references(self, instances: list[StoredInstance]) -> list[JsonDataset]:
        """Return where instances are, one item for each series (PS3.3 table 10-3b)."""
        grouped: dict[tuple[str, str], list[JsonDataset]] = defaultdict(list)
        for each in instances:
            reference: JsonDataset = {
                "00081150": one("UI", each.sop_class_uid),
                "00081155": one("UI", each.instance_uid),
            }
            grouped[each.study_uid, each.series_uid].append(reference)
        return [
            {
                "00081199": sequence(*references),
                "0020000D": one("UI", study_uid),
                "0020000E": one("UI", series_uid),
                "0040E020": one("CS", "DICOM"),
                "0040E021": sequence({"00080054": one("AE", self._ae_title)}),
            }
            for (study_uid, series_uid), references in grouped.items()
        ]


def ups_uid(workitem_uid: str) -> str:
    """Return the UID under which an analysis is on the worklist."""
    return derived_uid("ups", workitem_uid)


def new_uid() -> str:
    """Return a UID that nobody can guess."""
    return f"2.25.{uuid.uuid4().int}"


def _begun(step: Step) -> Step:
    return replace(step, state=State.IN_PROGRESS, transaction_uid=new_uid())


def _outcome_state(step: Step, item: Workitem, *, answered: bool) -> State:
    """Return the state for an analysis; what others asked for is not done if no model read it."""
    unread = item.state == State.COMPLETED and item.reason_code and not answered
    return State.CANCELED if step.pushed and unread else State(item.state)


def _described(item: Workitem, study: StudyRow) -> JsonDataset:
    name = name_of(study.patient_name)
    return {
        rules.STATE: one("CS", "SCHEDULED"),
        rules.PRIORITY: one("CS", _priority(item.priority)),
        rules.LABEL: one("LO", "AI analysis"),
        rules.START: one("DT", date_time(item.created_at)),
        rules.READINESS: one("CS", "READY"),
        rules.CODES: sequence(_TASK),
        "00100010": {"vr": "PN", "Value": [name]} if name else {"vr": "PN"},
        rules.PATIENT: one("LO", study.patient_id),
        "00100030": one("DA", study.birth_date),
        "00100040": one("CS", study.sex),
        rules.STUDY: one("UI", study.study_uid),
        rules.REQUEST: sequence(
            {
                rules.ACCESSION: one("SH", study.accession_number),
                rules.STUDY: one("UI", study.study_uid),
            }
        ),
    }


def _priority(number: int) -> str:
    if number <= HIGH:
        return "HIGH"
    return "MEDIUM" if number <= ROUTINE else "LOW"
