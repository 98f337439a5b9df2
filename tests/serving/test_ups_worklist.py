"""The memory of the worklist, on both databases."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node import schema
from imaging.errors import Conflict
from serving.ups import rules
from serving.ups.states import DONE, Ruling, State, change, key_of
from serving.ups.worklist import Narrowed, Step, Worklist
from tests.postgresql import postgresql_server, postgresql_url
from tests.serving.ups_steps import pushed

__all__ = ["postgresql_server", "postgresql_url"]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    on_file = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/one.db" if on_file else request.getfixturevalue("postgresql_url")
    engine = schema.connect(url)
    schema.upgrade(engine)
    yield engine
    engine.dispose()


def test_of_many_performers_one_gets_a_workitem(engine: sa.Engine):
    worklist, start = Worklist(engine, tenant="default", clock=lambda: 1.0), threading.Barrier(8)
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
