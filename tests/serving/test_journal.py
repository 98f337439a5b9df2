from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dicom_node import schema
from imaging.errors import NotFound
from imaging.reasons import Reason
from serving.journal import Journal
from serving.records import DecisionRecord, DeliveryState, FindingRecord, ReasonRecord, Result

STUDY, WORK = "1.2", "1.2-abc"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = schema.connect(f"sqlite:///{tmp_path}/index.db")
    schema.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def journal(engine: Engine, clock: list[float]) -> Journal:
    made = Journal(engine, tenant="default", clock=lambda: clock[0])
    assert made.schedule(WORK, study_uid=STUDY, content_digest="abc", priority=5)
    return made


def result(uid: str = "1.3", **changes) -> Result:
    values = {
        "instance_uid": uid,
        "workitem_uid": WORK,
        "study_uid": STUDY,
        "series_uid": "1.4",
        "model": "m",
        "kind": "SR",
        "sop_class_uid": "1.5",
        "state": "valid",
        "created_at": 1.0,
    }
    return Result(**{**values, **changes})


def states(journal: Journal) -> dict[str, str]:
    return {d.instance_uid: d.state for d in journal.deliveries(study_uid=STUDY)}


def test_a_workitem_goes_its_way(journal: Journal, clock: list[float]):
    item = journal.workitem(WORK)
    assert (item.state, item.stage, item.created_at, item.started_at) == (
        "SCHEDULED",
        "waiting",
        100.0,
        None,
    )
    clock[0] = 101
    journal.begin(WORK)
    clock[0] = 102
    journal.begin(WORK)
    assert journal.started_at(WORK) == 101
    journal.add_timings(WORK, {"m/read": 1.0})
    journal.add_timings(WORK, {"m/read": 0.5, "m/model": 2.0})
    journal.end(WORK, "CANCELED", Reason(code="POISON", text="text"))
    item = journal.workitem(WORK)
    assert (item.state, item.reason_code, item.reason_text) == ("CANCELED", "POISON", "text")
    assert (item.ended_at, item.timings) == (102, {"m/read": 1.5, "m/model": 2.0})
    kinds = [event.kind for event in journal.events_after(0)]
    assert kinds == ["scheduled", "started", "started", "canceled"]


def test_scheduling_again_changes_nothing(journal: Journal):
    journal.begin(WORK)
    assert not journal.schedule(WORK, study_uid=STUDY, content_digest="x", priority=1)
    item = journal.workitem(WORK)
    assert (item.state, item.content_digest, item.priority) == ("IN PROGRESS", "abc", 5)


def test_workitems_come_newest_first(journal: Journal, clock: list[float]):
    clock[0] = 200
    journal.schedule("second", study_uid="2.2", content_digest="d", priority=5)
    journal.begin("second")
    assert [i.workitem_uid for i in journal.workitems()] == ["second", WORK]
    assert [i.workitem_uid for i in journal.workitems(study_uid=STUDY)] == [WORK]
    assert [i.workitem_uid for i in journal.workitems(state="IN PROGRESS")] == ["second"]


def test_what_is_not_there(journal: Journal):
    assert journal.workitem("nothing") is None
    with pytest.raises(NotFound):
        journal.started_at("nothing")
    with pytest.raises(NotFound):
        journal.started_at(WORK)


def test_decisions_replace_earlier_ones_of_the_workitem(journal: Journal):
    def decision(model: str, workitem: str = WORK) -> DecisionRecord:
        reasons = (ReasonRecord(code="RULE", text="text"),)
        return DecisionRecord(
            workitem_uid=workitem,
            series_uid="1.4",
            stack="0",
            model=model,
            chosen=False,
            reasons=reasons,
        )

    journal.record_decisions(WORK, STUDY, [decision("a"), decision("b")])
    journal.record_decisions("other", STUDY, [decision("a", "other")])
    journal.record_decisions(WORK, STUDY, [decision("b")])
    found = sorted(journal.decisions(STUDY), key=lambda each: each.model)
    assert found == [decision("a", "other"), decision("b")]


def test_a_finding_is_kept_once_for_each_workitem(journal: Journal):
    def finding(statement: str, workitem: str = WORK) -> FindingRecord:
        return FindingRecord(
            workitem_uid=workitem,
            series_uid="1.4",
            model="m",
            tracking_uid="1.6",
            concept="Brain",
            statement=statement,
            key_instance=None,
        )

    journal.record_findings(STUDY, [finding("old")])
    journal.record_findings(STUDY, [finding("new"), finding("other", "w2")])
    assert {f.statement for f in journal.findings(STUDY)} == {"new", "other"}


def test_a_result_is_taken_over(journal: Journal):
    journal.record_result(result())
    journal.record_result(result(workitem_uid="again"))
    (found,) = journal.results(study_uid=STUDY)
    assert found.workitem_uid == "again"
    assert journal.results(workitem_uid=WORK) == ()


@pytest.mark.parametrize(
    ("old", "new", "heir"),
    [
        ({"kind": "SR"}, ["SR", "KEY_IMAGE"], "SR"),
        ({"kind": "SEG"}, ["SR", "SEG"], "SEG"),
        ({"kind": "SEG"}, ["SR", "KEY_IMAGE"], "SR"),
        ({"kind": "SEG"}, ["KEY_IMAGE"], None),
        ({"kind": "NOTICE", "model": ""}, ["SR", "KEY_IMAGE"], "SR"),
        ({"kind": "NOTICE"}, ["SR"], "SR"),
        ({"kind": "NOTICE"}, ["NOTICE"], "NOTICE"),
        ({"kind": "SR"}, ["NOTICE"], None),
        ({"kind": "SR", "model": "other"}, ["SR"], None),
        ({"kind": "SR", "study_uid": "2.2"}, ["SR"], None),
        ({"kind": "SR", "superseded_by": "before"}, ["SR"], "before"),
        ({"kind": "SR"}, [], None),
    ],
)
def test_what_supersedes_what(journal: Journal, old, new, heir):
    journal.record_result(result("old", **old))
    by = [result(kind, kind=kind) for kind in new]
    for each in by:
        journal.record_result(each)
    for _ in range(2):
        journal.supersede(STUDY, "m", by=by)
    found = {r.instance_uid: r.superseded_by for r in journal.results()}
    assert found.pop("old") == heir
    assert set(found.values()) <= {None}


def test_predecessors_are_the_current_reports_of_other_workitems(journal: Journal):
    for uid, changes in {
        "current": {},
        "own": {"workitem_uid": "new"},
        "held": {"state": "held"},
        "old": {"superseded_by": "current"},
        "image": {"kind": "KEY_IMAGE"},
        "other": {"model": "other"},
    }.items():
        journal.record_result(result(uid, **changes))
    journal.plan_delivery(result("current"), "pacs")
    journal.update_deliveries(["current"], "pacs", "proven")
    found = journal.predecessors(STUDY, "m", not_of="new")
    assert [ref.instance_uid for ref in found] == ["current"]


@pytest.mark.parametrize("state", [None, "waiting", "held", "refused", "failed"])
def test_what_somebody_never_saw_hides_nothing(journal: Journal, state: DeliveryState | None):
    for uid, heir in {"first": "second", "second": "third", "third": "mine"}.items():
        journal.record_result(result(uid, superseded_by=heir))
    journal.record_result(result("mine", workitem_uid="new"))
    for uid in ("first", "second"):
        journal.plan_delivery(result(uid), "pacs")
        journal.update_deliveries([uid], "pacs", "proven")
    if state:
        journal.plan_delivery(result("third"), "pacs")
        journal.update_deliveries(["third"], "pacs", state)
    found = journal.predecessors(STUDY, "m", not_of="new")
    assert [ref.instance_uid for ref in found] == ["third", "second"]


def test_deliveries_go_their_way(journal: Journal, clock: list[float]):
    journal.plan_delivery(result(), "pacs")
    (item,) = journal.deliveries(workitem_uid=WORK)
    assert (item.state, item.attempts, item.delivery_id) == ("waiting", 0, "1.3/pacs")
    clock[0] = 200
    journal.update_deliveries(["1.3"], "pacs", "waiting", error="down", retry_in_s=30)
    (item,) = journal.deliveries(state="waiting")
    assert (item.attempts, item.last_error, item.next_attempt_at) == (1, "down", 230)
    journal.update_deliveries(["1.3"], "pacs", "proven", proof="C-FIND")
    (item,) = journal.deliveries(study_uid=STUDY)
    assert (item.state, item.attempts, item.last_error, item.proof) == ("proven", 2, "", "C-FIND")
    assert (item.next_attempt_at, item.delivered_at, item.proven_at) == (None, 200, 200)
    kinds = [e.kind for e in journal.events_after(1)]
    assert kinds == ["delivery waiting", "delivery proven"]


def test_a_proven_delivery_stays_and_others_start_anew(journal: Journal):
    for uid in ("1.3", "1.31", "1.32"):
        journal.plan_delivery(result(uid), "pacs")
    journal.update_deliveries(["1.3"], "pacs", "proven", proof="C-FIND")
    journal.update_deliveries(["1.31"], "pacs", "failed", error="refused")
    for uid in ("1.3", "1.31", "1.32"):
        journal.plan_delivery(result(uid, workitem_uid="again"), "pacs")
    assert states(journal) == {"1.3": "proven", "1.31": "waiting", "1.32": "waiting"}
    assert len(journal.deliveries(workitem_uid="again")) == 2


def test_an_outcome_without_a_plan_is_nothing(journal: Journal):
    journal.update_deliveries(["9.9"], "pacs", "proven")
    journal.update_deliveries([], "pacs", "proven")
    assert journal.deliveries() == ()
    assert journal.last_event_id() == 1


def test_events_are_in_order_and_name_the_study(journal: Journal):
    assert journal.last_event_id() == 1
    for number in range(5):
        journal.schedule(str(number), study_uid=STUDY, content_digest="", priority=5)
    found = journal.events_after(1, limit=3)
    assert [event.workitem_uid for event in found] == ["0", "1", "2"]
    assert {event.study_uid for event in journal.events_after(0)} == {STUDY}
    assert journal.last_event_id() == found[-1].id + 2


def test_counts_by_state(journal: Journal):
    journal.record_result(result())
    journal.record_result(result("1.7", state="held"))
    journal.plan_delivery(result(), "pacs")
    assert journal.counts() == {
        ("workitems", "SCHEDULED"): 1,
        ("results", "valid"): 1,
        ("results", "held"): 1,
        ("deliveries", "waiting"): 1,
    }


def test_tenants_do_not_see_each_other(journal: Journal, engine: Engine):
    journal.record_result(result())
    journal.plan_delivery(result(), "pacs")
    other = Journal(engine, tenant="other", clock=lambda: 1.0)
    assert other.workitem(WORK) is None
    assert other.workitems() == other.results() == other.deliveries() == ()
    assert other.events_after(0) == ()
    assert other.counts() == {}
    assert other.schedule(WORK, study_uid=STUDY, content_digest="abc", priority=5)
    other.end(WORK, "CANCELED", None)
    other.update_deliveries(["1.3"], "pacs", "failed")
    assert journal.workitem(WORK).state == "SCHEDULED"
    assert states(journal) == {"1.3": "waiting"}
