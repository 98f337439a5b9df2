import random
import time

import pytest

from dicom_node import schema
from imaging.findings import Urgency
from imaging.reasons import reason
from serving.assessments import AssessmentRequest
from serving.records import ReasonRecord
from serving.room.figures import figures_since
from serving.room.worklist import Wanted, Worklist
from serving.study_view import StudyViews
from tests.serving.bench import Bench, ct, mr, peer
from tests.serving.room.rows import analysed, arrived, finding, insert_row
from tests.serving.test_api import close

NOW = 1_764_000_000.0
UNSURE = ReasonRecord(code="LOW_CONFIDENCE", text="unsure")


def listed(bench: Bench, **wanted: object) -> list[str]:
    page = Worklist(bench.index).page(Wanted(**wanted), now=NOW, limit=50)
    assert page.total == len(page.lines)
    return [line.study.study_uid for line in page.lines]


def test_the_database_orders_by_the_documented_points(empty: Bench):
    """Many studies by chance: the order of the list is that of the points shown in it."""
    rng = random.Random(3)
    for n in range(24):
        arrived(empty, f"1.2.{n}", NOW - rng.uniform(-100, 30 * 3600))
        found = [
            finding(
                urgency=rng.choice(list(Urgency)),
                probability=rng.choice([None, rng.random()]),
                abstained=rng.choice([None, None, UNSURE]),
            )
            for _ in range(rng.randrange(3))
        ]
        if n % 5:
            analysed(empty, f"1.2.{n}", *found, priority=rng.choice([1, 3, 5, 5]))
    page = Worklist(empty.index).page(Wanted(), now=NOW, limit=50)
    points = [line.standing.points for line in page.lines]
    assert len(points) == 24
    assert points == sorted(points, reverse=True)
    assert len(set(points)) > 15


def test_pages_follow_one_another(empty: Bench):
    for n in range(5):
        arrived(empty, f"1.2.{n}", NOW - 3600 * n)
    worklist = Worklist(empty.index)
    pages = [worklist.page(Wanted(), now=NOW, limit=2, offset=offset) for offset in (0, 2, 4)]
    shown = [line.study.study_uid for page in pages for line in page.lines]
    assert shown == ["1.2.4", "1.2.3", "1.2.2", "1.2.1", "1.2.0"]
    assert {page.total for page in pages} == {5}


def test_an_earlier_analysis_does_not_count(empty: Bench):
    arrived(empty, "1.2.1", NOW)
    analysed(empty, "1.2.1", finding(urgency=Urgency.CRITICAL))
    empty.journal.schedule("newer", study_uid="1.2.1", content_digest="", priority=5)
    (line,) = Worklist(empty.index).page(Wanted(), now=NOW, limit=9).lines
    assert (line.findings, line.standing.points) == ((), 0)


def test_filters(empty: Bench):
    arrived(empty, "1.2.1", NOW, patient_name="Doe^Jane", study_date="20240115")
    arrived(empty, "1.2.2", NOW, description="Head 100%", study_date="20240220")
    analysed(empty, "1.2.2", finding())
    head = ct(
        (2, 8, 8), StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.1", StudyDate="20230101"
    )
    empty.receive(head)
    assert listed(empty, text="doe") == ["1.2.1"]
    assert listed(empty, text="100%") == ["1.2.2"]
    assert listed(empty, modality="ct") == ["1.2.3"]
    assert listed(empty, with_findings=True) == ["1.2.2"]
    assert listed(empty, date_from="20240101", date_to="20240131") == ["1.2.1"]
    assert listed(empty, state="receiving") == ["1.2.3"]
    assert listed(empty, state="analysing") == ["1.2.2"]
    assert listed(empty, state="waiting") == ["1.2.1"]


def states_by_turns(bench: Bench) -> dict[str, str]:
    """Bring studies into every state by the real pipeline."""
    made = {}
    for n, what in enumerate(("receiving", "waiting", "analysing", "failed", "done", "refused")):
        images = mr(StudyInstanceUID=f"1.3.{n}", SeriesInstanceUID=f"1.3.{n}.1", PatientID=f"P{n}")
        for m, image in enumerate(images):
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.3.{n}.1.{m}"
        made[what] = bench.receive(images)
    for what, study in made.items():
        if what != "receiving":
            close(bench, study)
    for what in ("analysing", "failed", "done", "refused"):
        bench.ticket(made[what])
    bench.journal.begin(bench.workitem(made["analysing"]).workitem_uid)
    item = bench.workitem(made["failed"])
    bench.journal.end(item.workitem_uid, "CANCELED", reason("CANCELED_BY_USER"))
    for what in ("done", "refused"):
        bench.run(bench.ticket(made[what]))
    return made


def test_states_are_those_of_rest(make):
    bench = make(peers=(peer(),))
    bench.install()
    made = states_by_turns(bench)
    for what, state in (("done", "proven"), ("refused", "refused")):
        uids = [d.instance_uid for d in bench.journal.deliveries(study_uid=made[what])]
        bench.journal.update_deliveries(uids, "pacs", state)
    worklist, views = Worklist(bench.index), StudyViews(bench.index, bench.journal)
    shown = {
        what: worklist.page(Wanted(text=f"P{n}"), now=NOW, limit=1).lines[0].state
        for n, what in enumerate(made)
    }
    assert shown == {what: views.detail(uid).state for what, uid in made.items()}
    assert shown["refused"] == "failed"
    uids = [d.instance_uid for d in bench.journal.deliveries(study_uid=made["refused"])]
    bench.journal.update_deliveries(uids[:1], "pacs", "proven")  # it takes some kinds
    line = worklist.line(made["refused"], now=NOW)
    assert line is not None
    assert line.state == views.detail(made["refused"]).state == "done"
    assert worklist.page(Wanted(state="done"), now=NOW, limit=9).total == 2
    for state, shown_as in (("held", "delivering"), ("superseded", "failed")):
        bench.journal.update_deliveries(uids[:1], "pacs", state)
        line = worklist.line(made["refused"], now=NOW)
        assert line is not None
        assert line.state == views.detail(made["refused"]).state == shown_as


def test_a_study_that_no_model_reads_says_so(bench: Bench):
    study = bench.analysed(ct())
    close(bench, study)
    line = Worklist(bench.index).line(study, now=NOW)
    assert line is not None
    assert line.workitem is not None
    assert line.state == "not analysed"
    assert line.workitem.reason_text == "no installed model reads CT HEAD"
    assert "CT HEAD" in line.workitem.reason_text_zh
    assert "模型" in line.workitem.reason_text_zh


def test_the_figures_of_the_day(empty: Bench):
    start = NOW - 1000
    for n, at in enumerate((NOW - 2000, NOW - 500, NOW - 100)):
        arrived(empty, f"1.2.{n}", at)
        for index, took in enumerate((4.0, 10.0)[: n + 1]):
            uid = f"w{n}{index}"
            insert_row(
                empty,
                schema.workitems,
                workitem_uid=uid,
                study_uid=f"1.2.{n}",
                content_digest="",
                state="COMPLETED",
                stage="ended",
                reason_code="",
                reason_text="",
                priority=5,
                created_at=NOW - 50,
                ended_at=NOW - 50 + took,
                timings={},
            )
            insert_row(
                empty,
                schema.results,
                instance_uid=f"r{n}{index}",
                workitem_uid=uid,
                study_uid=f"1.2.{n}",
                series_uid="1",
                model="m",
                kind="NOTICE" if n == 2 and not index else "SR",
                sop_class_uid="1",
                state="valid",
                problems=[],
                created_at=NOW,
            )
    assessments = empty.parts.assessments
    for n, verdict in enumerate(("accepted", "accepted", "rejected")):
        reason = {"reason": "NOT_PRESENT"} if verdict == "rejected" else {}
        found = finding(workitem_uid="w11", tracking_uid=f"1.{n}")
        wanted = AssessmentRequest.model_validate({"verdict": verdict, **reason})
        assessments.assess([found], wanted, study_uid="1.2.1", reader="local")
    figures = figures_since(empty.index, assessments, start)
    assert (figures.received, figures.analysed) == (2, 4)
    assert figures.seconds_to_result == pytest.approx(7.0)
    assert (figures.accepted, figures.assessed) == (2, 3)
    assert figures.agreement == pytest.approx(2 / 3)
    later = figures_since(empty.index, assessments, time.time() + 60)
    assert (later.seconds_to_result, later.agreement) == (None, None)


def judge(bench: Bench, study: str, verdict: str, *places: int) -> str:
    reason = {"reason": "NOT_PRESENT"} if verdict == "rejected" else {}
    wanted = AssessmentRequest.model_validate(
        {"verdict": verdict, "tracking_uids": [f"{study}.9.{n}" for n in places], **reason}
    )
    found = bench.journal.current_findings(study)
    made = bench.parts.assessments.assess(found, wanted, study_uid=study, reader="local")
    return made[0].action


def test_what_was_assessed_leaves_the_list(empty: Bench):
    arrived(empty, "1.2.1", NOW)
    analysed(empty, "1.2.1", finding(), finding())
    arrived(empty, "1.2.2", NOW)
    judge(empty, "1.2.1", "accepted", 1)
    assert sorted(listed(empty)) == ["1.2.1", "1.2.2"]
    last = judge(empty, "1.2.1", "rejected", 2)
    assert listed(empty) == ["1.2.2"]
    assert listed(empty, read=True) == ["1.2.1"]
    assert sorted(listed(empty, read=None)) == ["1.2.1", "1.2.2"]
    line = Worklist(empty.index).line("1.2.1", now=NOW)
    assert line is not None
    assert line.read
    assert [line.verdicts[f.tracking_uid] for f in line.findings] == ["accepted", "rejected"]
    empty.parts.assessments.undo("1.2.1", last, reader="local")
    assert sorted(listed(empty)) == ["1.2.1", "1.2.2"]


def test_a_rejected_finding_gives_no_head_start(empty: Bench):
    """In the order too, which the database decides."""
    for uid in ("1.2.1", "1.2.2"):
        arrived(empty, uid, NOW)
    analysed(empty, "1.2.1", finding(urgency=Urgency.CRITICAL), finding())
    analysed(empty, "1.2.2", finding(urgency=Urgency.URGENT), finding())
    assert listed(empty) == ["1.2.1", "1.2.2"]
    judge(empty, "1.2.1", "rejected", 1)
    assert listed(empty) == ["1.2.2", "1.2.1"]
    line = Worklist(empty.index).line("1.2.1", now=NOW)
    assert line is not None
    assert line.standing.points == 0
