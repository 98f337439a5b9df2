"""Which assessed findings become cases of a data set, and why the others do not."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dicom_node.records import StudyFilter, StudyRow
from imaging.verdict import RejectReason, Verdict
from serving.assessments import AssessmentRecord
from serving.parts import Parts
from serving.records import FindingRecord, Result

_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for; what is empty does not count.

    `code` is SCHEME:VALUE of a finding or of what a reader has it corrected to, `finding` a part of
    its name. Dates are those of studies, YYYYMMDD.
    """

    code: str = ""
    finding: str = ""
    model: str = ""
    verdicts: tuple[str, ...] = ("accepted", "corrected", "rejected")
    date_from: str = ""
    date_to: str = ""
    modality: str = ""
    scanner: str = ""
    opted_out: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed:
    """A finding with the verdict that holds."""

    finding: FindingRecord
    assessment: AssessmentRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What becomes a case: what one model found in one series, each finding assessed."""

    study: StudyRow
    model: str
    series_uid: str
    stack: str
    assessed: tuple[Assessed, ...]
    segmentation: Result | None

    @property
    def verdict(self) -> str:
        """The one verdict of all findings, or "corrected" where they differ."""
        found = {each.assessment.verdict.value for each in self.assessed}
        return found.pop() if len(found) == 1 else Verdict.CORRECTED.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What does not become a case, and why."""

    study_uid: str
    model: str
    why: str


def selected(parts: Parts, wanted: Wanted) -> Iterator[Chosen | Left]:
    """Yield what becomes of every analysed study that fits, the last received first."""
    filters = StudyFilter(
        modality=wanted.modality, date_from=wanted.date_from, date_to=wanted.date_to
    )
    offset = 0
    while page := parts.index.studies(filters, limit=_PAGE, offset=offset).studies:
        for study in page:
            yield from _of_study(parts, study, wanted)
        offset += len(page)


def _of_study(parts: Parts, study: StudyRow, wanted: Wanted) -> Iterator[Chosen | Left]:
    by_reading: dict[tuple[str, str], list[FindingRecord]] = defaultdict(list)
    for finding in parts.journal.current_findings(study.study_uid):
        if wanted.model in {"", finding.model}:
            by_reading[finding.model, finding.series_uid].append(finding)
    holding = parts.assessments.holding(study.study_uid) if by_reading else {}
    for (model, series_uid), findings in by_reading.items():
        assessed = tuple(
            Assessed(finding=f, assessment=holding[f.tracking_uid])
            for f in findings
            if f.tracking_uid in holding
        )
        if not any(_fits(f, holding.get(f.tracking_uid), wanted) for f in findings):
            continue
        why = _why_not(study, findings, assessed, wanted=wanted)
        stacks = [
            d.stack
            for d in parts.journal.decisions(study.study_uid)
            if d.chosen
            and (d.workitem_uid, d.model, d.series_uid)
            == (findings[0].workitem_uid, model, series_uid)
        ]
        if why or len(stacks) != 1:
            text = why or "it is not known which images were read"
            yield Left(study_uid=study.study_uid, model=model, why=text)
        else:
            yield Chosen(
                study=study,
                model=model,
                series_uid=series_uid,
                stack=stacks[0],
                assessed=assessed,
                segmentation=_segmentation(parts, findings[0]),
            )


def _fits(finding: FindingRecord, said: AssessmentRecord | None, wanted: Wanted) -> bool:
    """Whether a finding, or what a reader has it corrected to, is asked for."""
    codes = [code for code in (finding.code, said.instead if said else None) if code]
    names = [finding.concept, *(code.meaning for code in codes)]
    by_code = not wanted.code or wanted.code in {f"{c.scheme}:{c.value}" for c in codes}
    return by_code and any(wanted.finding.lower() in name.lower() for name in names)


def _why_not(
    study: StudyRow,
    findings: Sequence[FindingRecord],
    assessed: Sequence[Assessed],
    *,
    wanted: Wanted,
) -> str:
    rejected = [e.assessment for e in assessed if e.assessment.verdict is Verdict.REJECTED]
    reasons = {
        "the patient opted out": study.patient_id in wanted.opted_out,
        "the study has no patient ID": not study.patient_id,
        "no reader assessed it": not assessed,
        "not every finding is assessed": len(assessed) < len(findings),
        "its verdict is not asked for": any(
            each.assessment.verdict.value not in wanted.verdicts for each in assessed
        ),
        "it was rejected for another reason than that nothing is there": any(
            said.reason != RejectReason.NOT_PRESENT.name for said in rejected
        ),
        "a correction has no segmentation and no class": any(_says_nothing(e) for e in assessed),
        "the model abstained": any(finding.abstained for finding in findings),
    }
    return next((why for why, holds in reasons.items() if holds), "")


def _says_nothing(each: Assessed) -> bool:
    said = each.assessment
    corrected = said.verdict is Verdict.CORRECTED
    outlined = each.finding.segment_number is not None
    return corrected and not (said.object_uid if outlined else said.instead)


def _segmentation(parts: Parts, finding: FindingRecord) -> Result | None:
    made = parts.journal.results(workitem_uid=finding.workitem_uid)
    found = [r for r in made if (r.kind, r.model, r.state) == ("SEG", finding.model, "valid")]
    return found[-1] if found else None
