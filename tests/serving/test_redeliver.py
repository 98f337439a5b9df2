"""Which kinds go where, and trying again what was refused."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from serving.commands.redeliver import redeliver
from serving.engine import Client
from tests.serving.bench import Bench, mr, peer
from tests.serving.test_api import Web, close


@pytest.fixture
def refused(analysed: Callable[..., Bench]) -> Bench:
    """An installation whose destination refused the SEG."""
    bench = analysed(peers=(peer(),))
    for item in bench.journal.results():
        state = "refused" if item.kind == "SEG" else "proven"
        bench.journal.update_deliveries([item.instance_uid], "pacs", state, error="status 0122")
    return bench


def test_a_destination_gets_only_the_kinds_it_wants(make):
    old = replace(peer("old"), outputs=("sr", "key_image"))
    bench: Bench = make(peers=(peer(), old))
    bench.install()
    bench.analysed(mr())
    kinds = {r.instance_uid: r.kind for r in bench.journal.results()}
    planned = {(d.destination, kinds[d.instance_uid]) for d in bench.journal.deliveries()}
    assert planned == {
        ("pacs", "SEG"),
        ("pacs", "SR"),
        ("pacs", "KEY_IMAGE"),
        ("old", "SR"),
        ("old", "KEY_IMAGE"),
    }


def test_what_was_refused_is_shown_and_its_study_is_done_where_the_rest_arrived(refused: Bench):
    web = Web(refused)
    (item,) = web.get("/api/deliveries?state=refused")
    assert (item["destination"], item["last_error"]) == ("pacs", "status 0122")
    close(refused, item["study_uid"])
    assert web.get(f"/api/studies/{item['study_uid']}")["state"] == "done"
    rest = [d.instance_uid for d in refused.journal.deliveries(state="proven")]
    refused.journal.update_deliveries(rest, "pacs", "refused", error="status 0122")
    assert web.get(f"/api/studies/{item['study_uid']}")["state"] == "failed"


def test_trying_again_starts_once_however_often_it_is_asked(refused: Bench):
    web = Web(refused)
    for path in ("", "?destination=pacs"):
        answer = web.ask("POST", f"/api/deliveries/retry{path}")
        assert (answer.status_code, len(answer.json())) == (202, 1)
    assert web.ask("POST", "/api/deliveries/retry?destination=other").status_code == 409
    assert len(started(refused)) == 1


def test_the_command_tries_again_too(refused: Bench, capsys: pytest.CaptureFixture[str]):
    assert redeliver(refused.settings, study_uid=None, destination="pacs") == 0
    assert "1 deliveries start anew" in capsys.readouterr().out
    assert len(started(refused)) == 1


def started(bench: Bench) -> tuple[str, ...]:
    client: Client = bench.parts.client
    (workitem,) = {d.workitem_uid for d in bench.journal.deliveries()}
    return client.children(workitem)
