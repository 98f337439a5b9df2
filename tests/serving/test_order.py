from collections.abc import Callable

import pytest
from pydicom import Dataset

from dicom_node.routing import Rule
from imaging.errors import Conflict, NotFound, SetupError
from imaging.priority import HIGH, priority_of
from serving.__main__ import main
from serving.order import next_turn, place
from serving.settings import load
from tests.serving.bench import Bench, mr
from tests.serving.test_api import Web
from tests.serving.test_operations import complete


def study(number: int, **header: object) -> list[Dataset]:
    uid = f"1.2.7.{number}"
    return mr((3, 8, 8), StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", **header)


def scheduled(bench: Bench, number: int, sender: str = "PACS", **header: object) -> str:
    uid = bench.receive(study(number, **header), sender=sender)
    complete(bench, uid)
    return uid


def order(bench: Bench) -> list[str]:
    """The waiting studies as the work engine takes them; equal ones as they came."""
    waiting = [i for i in bench.journal.workitems() if i.state == "SCHEDULED"]
    rows = bench.parts.client._client.list_workflows(
        workflow_ids=[item.workitem_uid for item in waiting]
    )
    places = {row.workflow_id: row.priority for row in rows}
    waiting.sort(key=lambda item: (places[item.workitem_uid], item.created_at))
    return [item.study_uid for item in waiting]


def named(**values: str) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


@pytest.mark.parametrize(
    ("ds", "priority"),
    [
        (named(RequestedProcedurePriority="STAT"), 1),
        (named(RequestedProcedurePriority="high "), 3),
        (named(StudyPriorityID="MED"), 5),
        (named(RequestedProcedurePriority="LOW", ScheduledProcedureStepPriority="HIGH"), 3),
        (named(RequestedProcedurePriority="soon"), None),
        (named(), None),
    ],
)
def test_the_header_names_the_priority(ds, priority):
    assert priority_of(ds) == priority


def test_what_was_ordered_counts_and_the_most_urgent_decides():
    ds = named(RequestedProcedurePriority="ROUTINE")
    ds.RequestAttributesSequence = [named(RequestedProcedurePriority="STAT"), named()]
    assert priority_of(ds) == 1


def test_stat_comes_first_whoever_says_so(make: Callable[..., Bench]):
    rules = (Rule(name="research", senders=("LAB",), priority=7),)
    bench = make(rules=rules)
    routine = scheduled(bench, 1)
    doubted = scheduled(bench, 2, sender="LAB", RequestedProcedurePriority="STAT")
    stat = scheduled(bench, 3, RequestedProcedurePriority="STAT")
    high = bench.receive(study(4))
    bench.parts.ingest.hasten(high, HIGH)
    bench.parts.ingest.hasten(stat, HIGH)  # which does not make it wait longer
    complete(bench, high)
    assert bench.index.study(stat).priority == 1
    assert order(bench) == [stat, high, routine, doubted]


def test_one_urgent_image_makes_a_study_urgent(make: Callable[..., Bench]):
    bench = make()
    first, second, third = study(1)
    second.RequestedProcedurePriority = "STAT"
    third.RequestedProcedurePriority = "LOW"
    uid = bench.receive([first, second, third])
    assert bench.index.study(uid).priority == 1


def test_waiting_work_can_be_hurried_by_rest_and_command(
    make: Callable[..., Bench], tmp_path, capsys
):
    bench = make()
    first, second, third = (scheduled(bench, number) for number in (1, 2, 3))
    path = f"/api/workitems/{bench.workitem(third).workitem_uid}"
    answer = Web(bench).ask("PATCH", path, json={"priority": 1})
    assert (answer.status_code, answer.json()["priority"]) == (200, 1)
    assert order(bench) == [third, first, second]
    path = tmp_path / "wetread.toml"
    path.write_text('data_folder = "data"\n')
    assert main(["--settings", str(path), "prioritise", second, "3"]) == 0
    assert "has priority 3" in capsys.readouterr().out
    assert order(bench) == [third, second, first]
    assert main(["--settings", str(path), "prioritise", second, "0"]) == 1
    assert "not from 1 to 99" in capsys.readouterr().err


def test_what_runs_or_is_unknown_cannot_be_hurried(make: Callable[..., Bench]):
    bench = make()
    operations = bench.parts.operations
    with pytest.raises(NotFound):
        operations.prioritise("1.2.3", 1)
    running = scheduled(bench, 1)
    bench.journal.begin(bench.workitem(running).workitem_uid)
    with pytest.raises(Conflict, match="IN PROGRESS"):
        operations.prioritise(running, 1)


def test_what_was_set_aside_is_analysed_again_on_command(
    make: Callable[..., Bench], tmp_path, capsys
):
    bench = make()
    uid = scheduled(bench, 1)
    item = bench.workitem(uid)
    path = tmp_path / "wetread.toml"
    path.write_text('data_folder = "data"\n')
    assert main(["--settings", str(path), "retry", uid]) == 1
    assert "waiting or running" in capsys.readouterr().err
    bench.journal.end(item.workitem_uid, "CANCELED", None)
    assert main(["--settings", str(path), "retry", item.workitem_uid]) == 0
    assert bench.workitem(uid).workitem_uid in capsys.readouterr().out
    assert bench.workitem(uid).workitem_uid != item.workitem_uid


def test_a_sender_of_many_studies_does_not_keep_another_waiting(make: Callable[..., Bench]):
    bench = make()
    many = [scheduled(bench, number, sender="BUSY") for number in range(6)]
    one = scheduled(bench, 10, sender="QUIET")
    assert order(bench) == [many[0], one, *many[1:]]
    for uid in many[:3]:  # they are in work; the turn that is on is the fourth
        bench.journal.begin(bench.workitem(uid).workitem_uid)
    bench.journal.begin(bench.workitem(one).workitem_uid)
    late, later = (scheduled(bench, number, sender="QUIET") for number in (11, 12))
    again = scheduled(bench, 13, sender="BUSY")
    assert order(bench) == [many[3], late, many[4], later, many[5], again]


def test_turns_are_places_below_the_priority():
    assert next_turn({}, "A") == 0
    assert next_turn({"A": (4, 9)}, "A") == 10
    assert next_turn({"A": (4, 9), "B": (6, 6)}, "C") == 4
    assert place(1, 10**9) < place(2, 0)
    assert place(99, 10**9) < 2**31


def test_a_rule_may_not_leave_the_scale(tmp_path):
    path = tmp_path / "wetread.toml"
    path.write_text('[[rules]]\nname = "x"\npriority = 0\n')
    with pytest.raises(SetupError, match="not from 1 to 99"):
        load(path, {})
