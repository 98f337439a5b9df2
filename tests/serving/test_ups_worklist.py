"""The memory of the worklist, on both databases."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node.archive import Archive
from dicom_node.index import Index
from dicom_node.ingest import Ingest
from imaging.errors import Conflict
from serving.journal import Journal
from serving.ups import rules
from serving.ups.analyses import Analyses
from serving.ups.states import DONE, Ruling, State, change, key_of
from serving.ups.step import Narrowed, Step
from serving.ups.subscriptions import ALL, Subscriptions
from serving.ups.worklist import Worklist
from tests.dicom_node.rig import store
from tests.postgresql import engine, postgresql_server, postgresql_url
from tests.serving.bench import mr
from tests.serving.ups_steps import pushed

__all__ = ["engine", "postgresql_server", "postgresql_url"]


def worklist_on(engine: sa.Engine) -> Worklist:
    common = {"tenant": "default", "clock": lambda: 1.0}
    return Worklist(engine, **common, subscriptions=Subscriptions(engine, **common))


def test_of_many_performers_one_gets_a_workitem(engine: sa.Engine):
    worklist, start = worklist_on(engine), threading.Barrier(8)
    content, _ = rules.created(pushed().to_json_dict(), "1.2", 1.0)
    worklist.create(Step(ups_uid="1.2", content=content, pushed=True, created_at=1.0))
    with pytest.raises(Conflict):
        worklist.create(Step(ups_uid="1.2", content=content, pushed=True, created_at=2.0))

    def claim(number: int) -> Ruling:
        start.wait(timeout=60)
        with worklist.changing("1.2") as changing:
            step, key = changing.after, f"1.9.{number}"
            ruling = change(
                step.state, State.IN_PROGRESS, key_of(step.transaction_uid, key, step.state)
            )
            if ruling is DONE:
                changing.set(state=State.IN_PROGRESS, transaction_uid=key)
            return ruling

    with ThreadPoolExecutor(8) as pool:
        rulings = list(pool.map(claim, range(8)))
    (winner,) = (number for number, ruling in enumerate(rulings) if ruling is DONE)
    assert worklist.step("1.2").transaction_uid == f"1.9.{winner}"
    assert [s.state for s in worklist.find(Narrowed(states=("IN PROGRESS",)))] == ["IN PROGRESS"]


def test_reports_are_kept_in_order_and_of_many_the_newest(engine: sa.Engine):
    watchers = Subscriptions(engine, tenant="default", clock=lambda: 1.0, most_kept=3)
    worklist = Worklist(engine, tenant="default", clock=lambda: 1.0, subscriptions=watchers)
    watchers.subscribe("READER", ALL)
    for number in range(1, 6):
        uid = f"1.2.{number}"
        content, _ = rules.created(pushed().to_json_dict(), uid, 1.0)
        worklist.create(Step(ups_uid=uid, content=content, pushed=True, created_at=1.0))
    kept = watchers.waiting("READER", limit=10)
    assert [each.content["00001000"]["Value"] for each in kept] == [["1.2.3"], ["1.2.4"], ["1.2.5"]]
    watchers.taken([kept[0].number])
    assert watchers.waiting("READER", limit=10) == kept[1:]
    assert watchers.waiting("OTHER", limit=10) == []


def test_analyses_are_followed(engine: sa.Engine, tmp_path: Path):
    ingest = Ingest(Archive(tmp_path / "instances", reserve_bytes=0), Index(engine), time.time)
    for each in mr(StudyInstanceUID="1.2.3"):
        store(ingest, each)
    journal, worklist = Journal(engine, tenant="default", clock=time.time), worklist_on(engine)
    analyses = Analyses(worklist, journal, Index(engine), ae_title="WETREAD")

    def states() -> list[tuple[str, bool]]:
        analyses.catch_up()
        return [(step.state, step.pushed) for step in worklist.find(Narrowed(patient_id="PH-1"))]

    assert states() == []
    journal.schedule("1.2.3-d", study_uid="1.2.3", content_digest="d", priority=5)
    assert states() == [("SCHEDULED", False)]
    journal.begin("1.2.3-d")
    assert states() == [("IN PROGRESS", False)]
    journal.end("1.2.3-d", "COMPLETED", None)
    assert states() == [("COMPLETED", False)]
    assert worklist.behind(limit=10) == []
    assert list(worklist.find(Narrowed(states=("COMPLETED",), pushed=True))) == []
