"""What the demo ends with: for each study what was found and which objects are in the PACS."""

from collections import Counter
from collections.abc import Iterator

from serving.records import FindingRecord, Record, Result
from serving.study_view import StudyDetail

# At least so many objects of each kind must reach the PACS, by the modality of the study.
_EXPECTED = {
    "MR": Counter(SEG=2, SR=3, KEY_IMAGE=2),
    "CT": Counter(SEG=1, SR=1, KEY_IMAGE=1),
}
_WORDS = {
    "SEG": "segmentation (SEG)",
    "SR": "structured report (SR)",
    "KEY_IMAGE": "key image (secondary capture)",
    "NOTICE": 'structured report "AI analysis not performed"',
}


class ResultAnswer(Record):
    """One object that Wetread wrote, and whether a query to the PACS finds it."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    in_pacs: bool


class StudyAnswer(Record):
    """One study. Times are seconds; ``None`` when there is nothing to measure."""

    study_uid: str
    modality: str
    analysed: bool
    reason: str | None
    results: tuple[ResultAnswer, ...]
    findings: tuple[FindingRecord, ...]
    seconds_last_slice_to_pacs: float | None
    seconds_model: float | None


class DemoAnswer(Record):
    """The last line of ``scripts/demo --once``, as JSON."""

    pacs: str
    studies: tuple[StudyAnswer, ...]


def current_results(detail: StudyDetail) -> tuple[Result, ...]:
    """Return the results that nothing has superseded."""
    return tuple(result for result in detail.results if result.superseded_by is None)


def study_answer(
    detail: StudyDetail, *, modality: str, last_slice_at: float, in_pacs: frozenset[str]
) -> StudyAnswer:
    """Return the answer for one study; `in_pacs` are the instances a query found there."""
    results = current_results(detail)
    uids = {result.instance_uid for result in results}
    proven = [d.proven_at for d in detail.deliveries if d.instance_uid in uids and d.proven_at]
    timings = detail.workitems[0].timings if detail.workitems else {}
    model_s = [seconds for stage, seconds in timings.items() if stage.endswith("/model")]
    return StudyAnswer(
        study_uid=detail.study_uid,
        modality=modality,
        analysed=detail.analysed,
        reason=detail.reason,
        results=tuple(
            ResultAnswer(
                kind=result.kind,
                sop_class_uid=result.sop_class_uid,
                sop_instance_uid=result.instance_uid,
                in_pacs=result.instance_uid in in_pacs,
            )
            for result in results
        ),
        findings=detail.findings,
        seconds_last_slice_to_pacs=round(max(proven) - last_slice_at, 2) if proven else None,
        seconds_model=round(sum(model_s), 2) if model_s else None,
    )


def problems(answer: StudyAnswer) -> tuple[str, ...]:
    """Return every way in which the study's objects are not what they must be."""
    absent = [f"{_WORDS[r.kind]} is not in the PACS" for r in answer.results if not r.in_pacs]
    missing = _EXPECTED[answer.modality] - Counter(result.kind for result in answer.results)
    return (*absent, *(f"{n} x {_WORDS[kind]} was not written" for kind, n in missing.items()))


def sentences(answer: StudyAnswer, place: str) -> Iterator[str]:
    """Yield findings, objects and times in words, one line each; `place` names the PACS."""
    if answer.analysed:
        yield from (f"{finding.model}: {finding.statement}" for finding in answer.findings)
    else:
        yield f"Not analysed: {answer.reason}"
    for result in answer.results:
        state = "in" if result.in_pacs else "NOT in"
        yield f"{state} {place}: {_WORDS[result.kind]} {result.sop_instance_uid}"
    if answer.seconds_last_slice_to_pacs is not None:
        model = f", {answer.seconds_model} s of it in the models" if answer.seconds_model else ""
        yield f"last slice to last result: {answer.seconds_last_slice_to_pacs} s{model}"
