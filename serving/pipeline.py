"""Read this first: how a study becomes results.

`Pipeline.plan` decides which model reads which series, `Pipeline.read` is the whole reading of one
series by one model, from voxels to stored DICOM objects, `Pipeline.conclude` ends the workitem.
Each may be repeated: what is written is keyed by content, so a repetition writes the same.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import structlog
from pydicom import Dataset

from dicom_node.peers import OUTPUTS
from dicom_node.routing import Candidate, Decision, Rule, decide, rule_for
from imaging.companions import brought_together
from imaging.errors import InputError, ModelError, NotFound
from imaging.findings import Finding, Mask, Report
from imaging.identity import derived_uid
from imaging.notice import Notice
from imaging.objects import reference_to
from imaging.read import load_volume
from imaging.reasons import Reason, reason, reason_of
from imaging.stack import Stack
from imaging.tilt import on_source
from imaging.volume import Volume
from models.infer import predict
from models.interpret import Interpretation, interpret
from models.package import Package
from models.registry import Registry
from models.runtime import Sessions
from serving.encoding import Draft, notice_draft, report_drafts, segmentation_draft
from serving.journal import Journal
from serving.memory_needed import require_memory
from serving.monitoring.observation import observed
from serving.recent import Recent
from serving.records import DecisionRecord, Result, finding_record, reason_record
from serving.results import ResultStore
from serving.settings import Settings
from serving.stopwatch import Stopwatch
from serving.studies import (
    StudyReader,
    arrival_notes,
    main_part,
    shortfall,
    source_dataset,
    why_not,
)
from serving.tickets import Assignment, Plan, StudyTicket, Together, planned_digest

_log = structlog.get_logger(__name__)
_KEPT = 2  # volumes held for the next model of the same study


class Pipeline:
    """Everything a worker needs to turn a study into results."""

    def __init__(
        self,
        *,
        settings: Settings,
        studies: StudyReader,
        results: ResultStore,
        journal: Journal,
        registry: Registry,
        sessions: Sessions,
    ) -> None:
        self._settings, self._studies = settings, studies
        self._results, self._journal = results, journal
        self._registry, self._sessions = registry, sessions
        self._volumes: Recent[Volume] = Recent(_KEPT)
        self._answers: Recent[_Answer] = Recent(2 * _KEPT)

    def plan(self, ticket: StudyTicket) -> Plan:
        """Decide for every series and model, store the decisions, and return what to read."""
        workitem_uid, study_uid = ticket["workitem_uid"], ticket["study_uid"]
        self._journal.begin(workitem_uid)
        self._forget_others(ticket["content_digest"])
        candidates = self._candidates(ticket)
        packages = {package.manifest.name: package for package in self._registry.packages()}
        rule = rule_for(self._settings.rules, self._studies.traits(study_uid))
        needs = {name: package.manifest.needs for name, package in packages.items()}
        decisions = [_with_needed(d, packages) for d in decide(candidates, needs, rule)]
        records = [_decision_record(workitem_uid, decision) for decision in decisions]
        self._journal.record_decisions(workitem_uid, study_uid, records)
        destinations = self._destinations(rule)
        chosen = [
            Assignment(
                study=ticket,
                series_uid=decision.series_uid,
                stack=decision.stack,
                model=decision.model,
                destinations=destinations,
                digests=_digests(packages, decision.model),
                beside=[Together(series_uid=c.series_uid, stack=c.stack) for c in decision.beside],
            )
            for decision in decisions
            if decision.chosen
        ]
        return Plan(assignments=chosen, destinations=destinations)

    def read(self, assignment: Assignment) -> list[str]:
        """Let one model read one series; return the results to deliver.

        What cannot be read or run becomes a result too: an "AI analysis not performed" object.
        """
        watch = Stopwatch()
        package = self._package(assignment, assignment["model"])
        stack, source = self._stack(assignment)
        drafts: tuple[Draft, ...]
        findings: tuple[Finding, ...] = ()
        volume, failed = None, ""
        try:
            volume = self._volume(assignment, package, stack)
            watch.lap("read")
            answer = self._answer(assignment, package, volume)
            watch.lap("analyse")
            report = self._report(assignment, package, volume, answer=answer)
            drafts, findings = report_drafts(report, source, volume), report.findings
            watch.note("model", answer.model_seconds)
        except (InputError, ModelError) as error:
            _log.warning(
                "not_performed",
                workitem=assignment["study"]["workitem_uid"],
                why=error.code,
            )
            drafts = (self._failure(assignment, stack, source, why=reason_of(error)),)
            self._journal.note_failure(assignment["study"]["workitem_uid"], reason_of(error))
            failed = error.code
        watch.lap("encode")
        results = self._keep(assignment, drafts, findings)
        seen = observed(stack, volume, findings, failed=failed)
        self._journal.observations.note(assignment, package.digest, seen)
        watch.lap("store")
        self._journal.add_timings(
            assignment["study"]["workitem_uid"], watch.of(assignment["model"])
        )
        return self._deliverable(results, assignment["destinations"])

    def conclude(self, ticket: StudyTicket) -> list[str]:
        """End the workitem; a study that no model read gets a notice with the reason."""
        workitem_uid, study_uid = ticket["workitem_uid"], ticket["study_uid"]
        decisions = self._journal.decisions(study_uid)
        if any(d.chosen for d in decisions if d.workitem_uid == workitem_uid):
            self._journal.end(workitem_uid, "COMPLETED", None)
            return []
        candidates = self._candidates(ticket)
        rule = rule_for(self._settings.rules, self._studies.traits(study_uid))
        needs = {p.manifest.name: p.manifest.needs for p in self._registry.packages()}
        reasons = why_not(candidates, needs, rule)
        results: list[Result] = []
        wanted = rule.notice and rule.models and self._settings.analysis.notices
        if candidates and wanted:
            instances = main_part(candidates).part.instances
            notice = Notice(
                reasons=reasons,
                instances=tuple(dict.fromkeys(map(reference_to, instances))),
                algorithm=None,
                result_key=derived_uid(
                    "notice",
                    ticket["content_digest"],
                    self._settings.analysis.language,
                    *(why.text for why in reasons),
                ),
                created=self._created(workitem_uid),
                language=self._settings.analysis.language,
            )
            draft = notice_draft(notice, source_dataset(instances[0]))
            results = [self._results.keep(draft, workitem_uid=workitem_uid, model="")]
            self._journal.supersede(study_uid, "", by=results)
        delivered = self._deliverable(results, self._destinations(rule))
        self._journal.end(workitem_uid, "COMPLETED", reasons[0])
        return delivered

    def refuse(self, assignment: Assignment, why: Reason) -> list[str]:
        """Write into a study why a model's reading was given up; return the results to deliver."""
        stack, source = self._stack(assignment)
        draft = self._failure(assignment, stack, source, why=why)
        self._journal.note_failure(assignment["study"]["workitem_uid"], why)
        package, seen = (
            self._package(assignment, assignment["model"]),
            observed(stack, None, (), failed=why.code),
        )
        self._journal.observations.note(assignment, package.digest, seen)
        return self._deliverable(self._keep(assignment, (draft,), ()), assignment["destinations"])

    def rehearse(self, assignment: Assignment) -> tuple[Report, Draft | None]:
        """Return what a model would say of a series, and its segmentation; nothing is stored."""
        package = self._package(assignment, assignment["model"])
        stack, source = self._stack(assignment)
        volume = self._volume(assignment, package, stack)
        answer = self._answer(assignment, package, volume)
        report = self._report(assignment, package, volume, answer=answer)
        return report, segmentation_draft(report, source)

    def warm_up(self) -> None:
        """Load the installed models before the first study needs them."""
        for package in self._registry.packages():
            try:
                self._sessions.load(package)
            except ModelError as error:
                _log.error("model_cannot_be_loaded", model=package.manifest.name, why=str(error))

    # One reading

    def _package(self, assignment: Assignment, model: str) -> Package:
        """Return the version that the study was planned with, whatever is served meanwhile."""
        return self._registry.get(model, planned_digest(assignment, model))

    def _volume(self, assignment: Assignment, package: Package, stack: Stack) -> Volume:
        """Return the voxels in the unit that a model wants, and its other inputs beside."""
        require_memory(stack, package, most=self._settings.analysis.memory_bytes)
        study, needs = assignment["study"], package.manifest.needs
        first = self._loaded(study, assignment, stack=stack, unit=needs.unit)
        others = [
            (need.name, self._loaded(study, part, stack=self._part(study, part), unit=need.unit))
            for need, part in zip(needs.others, assignment.get("beside", ()), strict=False)
        ]
        return brought_together(first, others) if others else first

    def _loaded(
        self, study: StudyTicket, part: Assignment | Together, *, stack: Stack, unit: str
    ) -> Volume:
        """Return the voxels of a part of a series; models that want the same share them."""
        key = (study["content_digest"], part["series_uid"], part["stack"], unit)
        return self._volumes.get(key, lambda: load_volume(stack, unit=unit))

    def _forget_others(self, content_digest: str) -> None:
        """Let go of the volumes of earlier studies."""
        for recent in (self._volumes, self._answers):
            recent.keep(lambda key: isinstance(key, tuple) and key[0] == content_digest)

    def _answer(self, assignment: Assignment, package: Package, volume: Volume) -> "_Answer":
        """Return what a model says; asked for at once by two models, it is computed once."""
        return self._answers.get(
            (*_place(assignment), package.digest),
            lambda: self._compute(assignment, package, volume),
        )

    def _compute(self, assignment: Assignment, package: Package, volume: Volume) -> "_Answer":
        masks = {name: self._mask(assignment, name) for name in package.manifest.uses}
        prediction = predict(package, volume, sessions=self._sessions, masks=masks)
        needed = sorted(self._package(assignment, m).digest for m in package.manifest.uses)
        digests = (package.digest, self._settings.digest, *needed)
        read = (*volume.instances, *(h for each in volume.beside for h in each.instances))
        result_key = derived_uid(*digests, *sorted(header.image_key for header in read))
        return _Answer(
            result_key=result_key,
            found=interpret(prediction, package, volume, result_key=result_key, masks=masks),
            model_seconds=prediction.model_seconds,
        )

    def _mask(self, assignment: Assignment, model: str) -> Mask:
        """Return the mask that another model finds in the same series."""
        package = self._package(assignment, model)
        volume = self._volume(assignment, package, self._stack(assignment)[0])
        found = self._answer(assignment, package, volume).found
        for finding in found.findings:
            if finding.abstained:
                msg = f"{model}, which this model needs, abstained: {finding.abstained.text}"
                raise ModelError(msg)
        return found.segments[0].mask

    def _report(
        self, assignment: Assignment, package: Package, volume: Volume, *, answer: "_Answer"
    ) -> Report:
        study = assignment["study"]
        report = Report(
            algorithm=package.algorithm(self._settings.digest),
            grid=volume.grid,
            instances=volume.instances,
            findings=answer.found.findings,
            segments=answer.found.segments,
            result_key=answer.result_key,
            created=self._created(study["workitem_uid"]),
            notes=(*volume.notes, *arrival_notes(study)),
            beside=tuple(header for each in volume.beside for header in each.instances),
            predecessors=self._journal.predecessors(
                study["study_uid"], assignment["model"], not_of=study["workitem_uid"]
            ),
        )
        return on_source(report, volume)

    def _stack(self, assignment: Assignment) -> tuple[Stack, Dataset]:
        stack = self._part(assignment["study"], assignment)
        return stack, source_dataset(stack.instances[0])

    def _part(self, study: StudyTicket, part: Assignment | Together) -> Stack:
        wanted = (part["series_uid"], part["stack"])
        for candidate in self._candidates(study):
            if (candidate.series_uid, candidate.number) == wanted:
                assert isinstance(candidate.part, Stack)
                return candidate.part
        msg = f"series {wanted[0]} is no longer in the archive"
        raise NotFound(msg)

    def _failure(
        self, assignment: Assignment, stack: Stack, source: Dataset, *, why: Reason
    ) -> Draft:
        package = self._package(assignment, assignment["model"])
        digests = (assignment["study"]["content_digest"], package.digest, self._settings.digest)
        notice = Notice(
            reasons=(why,),
            instances=tuple(dict.fromkeys(map(reference_to, stack.instances))),
            algorithm=package.algorithm(self._settings.digest),
            result_key=derived_uid("failure", *digests, self._settings.analysis.language, why.text),
            created=self._created(assignment["study"]["workitem_uid"]),
            language=self._settings.analysis.language,
        )
        return notice_draft(notice, source)

    # Bookkeeping

    def _keep(
        self, assignment: Assignment, drafts: Sequence[Draft], findings: Sequence[Finding]
    ) -> list[Result]:
        """Store objects and findings, and mark what they replace."""
        model, workitem_uid = assignment["model"], assignment["study"]["workitem_uid"]
        # Side by side, because each waits for a validator of its own.
        with ThreadPoolExecutor(len(drafts)) as pool:
            keep = partial(self._results.keep, workitem_uid=workitem_uid, model=model)
            results = list(pool.map(keep, drafts))
        algorithm = self._package(assignment, model).algorithm(self._settings.digest)
        series_uid = assignment["series_uid"]
        records = [
            finding_record(f, workitem_uid=workitem_uid, series_uid=series_uid, algorithm=algorithm)
            for f in findings
        ]
        self._journal.record_findings(assignment["study"]["study_uid"], records)
        valid = [result for result in results if result.state == "valid"]
        self._journal.supersede(assignment["study"]["study_uid"], model, by=valid)
        return results

    def _deliverable(self, results: Sequence[Result], destinations: Sequence[str]) -> list[str]:
        """Note a delivery of each valid result to each destination; a held one stays here."""
        valid = [result for result in results if result.state == "valid"]
        for result in valid:
            for destination in destinations:
                if self._wants(destination, result):
                    self._journal.plan_delivery(result, destination)
        return [result.instance_uid for result in valid]

    def _wants(self, destination: str, result: Result) -> bool:
        """Whether a destination gets this kind of object; kinds it cannot leave out always go."""
        peer = self._settings.reached().get(destination)
        outputs = peer.outputs if peer else OUTPUTS
        return result.kind.lower() not in set(OUTPUTS) - set(outputs)

    def _candidates(self, ticket: StudyTicket) -> tuple[Candidate, ...]:
        found = self._studies.candidates(ticket["study_uid"], ticket["content_digest"])
        return tuple(replace(c, shortfall=shortfall(ticket, c.series_uid)) for c in found)

    def _destinations(self, rule: Rule) -> list[str]:
        if rule.destinations is not None:
            return list(rule.destinations)
        return [peer.name for peer in self._settings.destinations()]

    def _created(self, workitem_uid: str) -> datetime:
        return datetime.fromtimestamp(self._journal.started_at(workitem_uid), UTC)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answer:
    """What one model found in one volume, and the seconds its network took."""

    result_key: str
    found: Interpretation
    model_seconds: float


def _place(assignment: Assignment) -> tuple[str, str, int]:
    return assignment["study"]["content_digest"], assignment["series_uid"], assignment["stack"]


def _digests(packages: dict[str, Package], model: str) -> dict[str, str]:
    """Return the digests of a model and of those whose masks it needs."""
    return {name: packages[name].digest for name in (model, *packages[model].manifest.uses)}


def _with_needed(decision: Decision, packages: dict[str, Package]) -> Decision:
    """Take a choice back when a model whose mask is needed is not installed."""
    missing = [name for name in packages[decision.model].manifest.uses if name not in packages]
    if not decision.chosen or not missing:
        return decision
    why = reason("NEEDS_MODEL", models=", ".join(missing))
    return replace(decision, chosen=False, reasons=(why,))


def _decision_record(workitem_uid: str, decision: Decision) -> DecisionRecord:
    return DecisionRecord(
        workitem_uid=workitem_uid,
        series_uid=decision.series_uid,
        stack=str(decision.stack),
        model=decision.model,
        chosen=decision.chosen,
        reasons=tuple(map(reason_record, decision.reasons)),
    )
