"""The audit of the chaos run sees what is wrong with messages."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.chaos_audit import Audit, _Auditor, open_work
from scripts.chaos_listener import Listener
from scripts.chaos_senders import Ledger
from scripts.chaos_site import LISTENER
from serving.notify.target import Target
from tests.serving.bench import Bench, mr
from tests.serving.test_notify import SECRET


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.stop()


def test_a_message_that_is_missing_or_differs_is_a_fault(tmp_path: Path, listener: Listener):
    url = f"http://127.0.0.1:{listener.port}/"
    target = Target(name=LISTENER, kind="webhook", url=url, secret=SECRET)
    bench = Bench(tmp_path, notify=(target,))
    study = bench.analysed(mr())

    def audited() -> Audit:
        site = SimpleNamespace(pacs=None, parts=bench.parts, listener=listener)
        audit = Audit()
        _Auditor(site, Ledger()).messages(audit, SimpleNamespace(study_uid=study))
        return audit

    (message,) = bench.parts.messages.listed()
    assert audited().lost == [f"message {message.message_id} is waiting and came 0 times"]
    assert open_work(bench.parts)["messages"] == 1
    bench.parts.teller.tell(target)
    assert audited().is_clean
    assert (audited().counts["messages"], open_work(bench.parts)["messages"]) == (1, 0)
    listener.got[message.message_id].append(b"other")
    assert audited().double == [f"message {message.message_id} came in other bytes"]
    listener.got.clear()
    assert audited().lost == [f"message {message.message_id} is delivered and came 0 times"]
    workitem = bench.workitem(study).workitem_uid
    bench.ticket(study, workitem_uid="untold")
    assert "workitem untold: 0 messages" in audited().lost
    with bench.index.engine.begin() as db:
        bench.parts.messages.plan(db, "failed", study_uid=study, workitem_uid=workitem)
    assert f"workitem {workitem}: 2 messages" in audited().double
