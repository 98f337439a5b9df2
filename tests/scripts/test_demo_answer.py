"""scripts/demo_answer.py: the last line of the demo, and when it is a failure."""

import json

from scripts.demo_answer import DemoAnswer, problems, sentences, study_answer
from serving.records import Delivery, FindingRecord, ResultKind, StandingResult, Workitem
from serving.study_view import StudyDetail

_STUDY, _WORKITEM = "1.2.3", "1.2.3.4"
_MR_KINDS: tuple[ResultKind, ...] = ("SEG", "SEG", "SR", "SR", "SR", "KEY_IMAGE", "KEY_IMAGE")


def _result(number: int, kind: ResultKind, *, superseded_by: str | None = None) -> StandingResult:
    return StandingResult(
        instance_uid=f"1.2.3.5.{number}",
        workitem_uid=_WORKITEM,
        study_uid=_STUDY,
        series_uid=f"1.2.3.6.{number}",
        model="brain-extraction",
        kind=kind,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
        state="valid",
        created_at=105.0,
        superseded_by=superseded_by,
        standing="superseded" if superseded_by else "current",
    )


def _delivery(result: StandingResult, proven_at: float) -> Delivery:
    return Delivery(
        delivery_id=result.instance_uid,
        instance_uid=result.instance_uid,
        workitem_uid=_WORKITEM,
        study_uid=_STUDY,
        destination="pacs",
        state="proven",
        attempts=1,
        planned_at=proven_at,
        delivered_at=proven_at,
        proven_at=proven_at,
    )


def _detail(
    *results: StandingResult, analysed: bool = True, reason: str | None = None
) -> StudyDetail:
    workitem = Workitem(
        workitem_uid=_WORKITEM,
        study_uid=_STUDY,
        content_digest="0",
        state="COMPLETED",
        stage="done",
        priority=5,
        created_at=101.0,
        started_at=101.0,
        ended_at=106.0,
        timings={"a/read": 0.5, "a/model": 1.5, "b/model": 1.0},
    )
    finding = FindingRecord(
        workitem_uid=_WORKITEM,
        series_uid="1.2.3.9",
        model="brain-extraction",
        tracking_uid="1.2.3.10",
        concept="Brain",
        statement="Brain volume 1739 ml.",
        key_instance=None,
    )
    return StudyDetail(
        study_uid=_STUDY,
        patient_id="DEMO",
        patient_name="Demo",
        study_date="20240115",
        description="",
        modality="MR",
        state="done",
        analysed=analysed,
        reason=reason,
        first_received_at=90.0,
        last_received_at=100.0,
        series=(),
        decisions=(),
        workitems=(workitem,),
        findings=(finding,) if analysed else (),
        results=results,
        deliveries=tuple(_delivery(r, 106.0 + i) for i, r in enumerate(results)),
        set_aside=(),
    )


def test_every_expected_object_in_the_pacs_is_success() -> None:
    results = [_result(i, kind) for i, kind in enumerate(_MR_KINDS)]
    there = frozenset(result.instance_uid for result in results)
    answer = study_answer(_detail(*results), modality="MR", last_slice_at=100.0, in_pacs=there)
    assert problems(answer) == ()
    assert answer.seconds_last_slice_to_pacs == 12.0
    assert answer.seconds_model == 2.5
    line = DemoAnswer(pacs="Orthanc", studies=(answer,)).model_dump_json()
    (study,) = json.loads(line)["studies"]
    assert "\n" not in line
    assert study["results"][0] == {
        "kind": "SEG",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.66.4",
        "sop_instance_uid": "1.2.3.5.0",
        "in_pacs": True,
    }
    said = list(sentences(answer, "Orthanc"))
    assert "brain-extraction: Brain volume 1739 ml." in said
    assert "in Orthanc: segmentation (SEG) 1.2.3.5.0" in said


def test_an_object_that_the_pacs_does_not_find_is_a_problem() -> None:
    results = [_result(i, kind) for i, kind in enumerate(_MR_KINDS)]
    there = frozenset(result.instance_uid for result in results[1:])
    answer = study_answer(_detail(*results), modality="MR", last_slice_at=100.0, in_pacs=there)
    assert problems(answer) == ("segmentation (SEG) is not in the PACS",)


def test_an_object_that_was_not_written_is_a_problem() -> None:
    result = _result(0, "SEG")
    there = frozenset({result.instance_uid})
    answer = study_answer(_detail(result), modality="MR", last_slice_at=100.0, in_pacs=there)
    assert len(problems(answer)) == 3


def test_superseded_results_do_not_count() -> None:
    old = _result(0, "NOTICE", superseded_by="1.2.3.5.1")
    new = _result(1, "NOTICE")
    detail = _detail(old, new, analysed=False, reason="no installed model reads CT HEAD")
    there = frozenset({new.instance_uid})
    answer = study_answer(detail, modality="CT", last_slice_at=100.0, in_pacs=there)
    assert [result.sop_instance_uid for result in answer.results] == [new.instance_uid]
    assert not [problem for problem in problems(answer) if "not in the PACS" in problem]
    assert len(problems(answer)) == 3  # a notice is not what the demo promises of its CT
    assert "Not analysed: no installed model reads CT HEAD" in list(sentences(answer, "Orthanc"))
