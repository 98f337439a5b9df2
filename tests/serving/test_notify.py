"""Other systems are told what becomes of studies: signed events that survive what may happen."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from email.utils import formatdate

import httpx
import pytest
from pydantic import ValidationError

from dicom_node.schema_messages import messages as table
from imaging.errors import Conflict, SetupError
from imaging.reasons import reason
from serving.app import build
from serving.assessments import AssessmentRequest
from serving.commands.check import _target
from serving.commands.notifications import cancel, retry
from serving.commands.status import status as print_status
from serving.notify.target import Target
from serving.settings import Settings, load
from serving.worker import build_writer
from tests.dicom_node.rig import free_port
from tests.serving.bench import Bench, ct, mr
from tests.serving.receivers import web
from tests.serving.test_operations import complete

KEY = b"k" * 32
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
QUICK = {"first_retry_s": 2.0, "longest_retry_s": 60.0, "connect_s": 2.0, "reply_s": 5.0}


def hook(url: str, **more: object) -> Target:
    return Target(**{"name": "ris", "kind": "webhook", "url": url, "secret": SECRET, **more})


@pytest.fixture
def told(make):
    """Return what makes an installation that tells one target, and has analysed one study."""

    def made(target: Target, **settings: object) -> tuple[Bench, str]:
        bench = make(notify=(target,), delivery=QUICK, **settings)
        bench.install()
        return bench, bench.analysed(mr())

    return made


def due_at_once(bench: Bench) -> None:
    with bench.index.engine.begin() as db:
        db.execute(table.update().values(next_attempt_at=None))


def only(bench: Bench):
    (message,) = bench.parts.messages.listed()
    return message


def tell(bench: Bench) -> float:
    return bench.parts.teller.tell(bench.settings.notify[0])


def test_an_ended_analysis_is_told_with_a_signature_and_without_a_patient(told):
    with web() as ris:
        bench, study = told(hook(f"{ris.url}/hook"))
        assert tell(bench) == 0
        assert tell(bench) > 0
    ((headers, body),) = ris.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 600
    event = json.loads(body)
    assert event["type"] == "study.completed"
    assert event["data"]["study_uid"] == study
    assert event["data"]["findings"][0]["measurements"][0]["unit"] == "ml"
    patient = bench.index.study(study)
    assert patient.patient_name
    assert patient.patient_name.encode() not in body
    assert patient.patient_id.encode() not in body
    assert "accession_number" not in event["data"]
    message = only(bench)
    assert (message.state, message.answer, message.attempts) == ("delivered", "HTTP 204", 1)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (200, "delivered"),
        (302, "waiting"),
        (400, "refused"),
        (410, "refused"),
        (408, "waiting"),
        (429, "waiting"),
        (503, "waiting"),
    ],
)
def test_the_status_decides_and_redirects_are_not_followed(told, status, state):
    with web(status, Location="/elsewhere") as ris:
        bench, _ = told(hook(ris.url))
        tell(bench)
    assert (only(bench).state, len(ris.got)) == (state, 1)
    assert only(bench).answer == f"HTTP {status}"


@pytest.mark.parametrize(
    "after", ["3000", formatdate(time.time() + 3000, usegmt=True)], ids=["seconds", "date"]
)
def test_a_receiver_says_when_to_come_again(told, after):
    with web(429, **{"Retry-After": after}) as ris:
        bench, _ = told(hook(ris.url))
        tell(bench)
    assert 2000 < only(bench).next_attempt_at - time.time() <= 3000


def test_a_receiver_that_is_away_is_tried_ever_less_often_and_then_given_up(told):
    bench, _ = told(hook(f"http://127.0.0.1:{free_port()}"))
    waits = []
    for _ in range(7):
        before = time.time()
        tell(bench)
        waits.append(round(only(bench).next_attempt_at - before))
        due_at_once(bench)
    assert waits == [2, 4, 8, 16, 32, 60, 60]
    assert "cannot be reached" in only(bench).words
    bench.restarted(delivery={**QUICK, "give_up_days": 1e-9})
    tell(bench)
    assert only(bench).state == "failed"


def test_who_got_no_answer_is_told_as_soon_as_the_receiver_is_back(told):
    port = free_port()
    bench, _ = told(hook(f"http://127.0.0.1:{port}"))
    tell(bench)
    assert bench.parts.messages.due("ris") is None
    with web() as ris:
        target = hook(ris.url)
        bench.restarted(notify=(target,))
        bench.analysed(ct(StudyInstanceUID="1.2.3.4"))
        while len(ris.got) < 2:
            assert bench.parts.teller.tell(target) == 0
    assert {m.state for m in bench.parts.messages.listed()} == {"delivered"}


def test_who_dies_before_noting_the_answer_is_followed_by_the_same_bytes_and_id(told, monkeypatch):
    with web() as ris:
        bench, study = told(hook(ris.url))
        monkeypatch.setattr(bench.parts.messages, "note", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tell(bench)
        bench.restarted()  # as another process
        findings = bench.journal.findings(study)
        changed = [f.model_copy(update={"statement": "other words"}) for f in findings]
        bench.journal.record_findings(study, changed)
        tell(bench)
    (first, body), (second, again) = ris.got
    assert (first["webhook-id"], body) == (second["webhook-id"], again)
    assert only(bench).state == "delivered"


def test_a_step_that_is_repeated_tells_once(told):
    bench, study = told(hook("http://127.0.0.1:1"))
    bench.pipeline.conclude(bench.ticket(study))
    assert only(bench).event == "completed"


def test_the_analysis_and_what_it_tells_are_noted_together_or_not_at_all(told, monkeypatch):
    bench, study = told(hook("http://127.0.0.1:1"))
    ticket = bench.ticket(study, workitem_uid=f"{study}-again")
    bench.journal.begin(ticket["workitem_uid"])
    monkeypatch.setattr(bench.parts.messages, "plan", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bench.journal.fail(ticket["workitem_uid"], reason("POISON", tries=3))
    assert bench.journal.workitem(ticket["workitem_uid"]).state == "IN PROGRESS"


def test_every_end_of_an_analysis_is_an_event(told):
    bench, study = told(hook("http://127.0.0.1:1"))
    ends = {"failed": reason("POISON", tries=3), "canceled": reason("CANCELED_BY_USER")}
    for event, why in ends.items():
        bench.journal.end(bench.ticket(study, workitem_uid=event)["workitem_uid"], "CANCELED", why)
    overtaken = bench.ticket(study, workitem_uid="overtaken")
    bench.journal.end(overtaken["workitem_uid"], "CANCELED", reason("OVERTAKEN"))
    bench.analysed(ct(StudyInstanceUID="1.2.3.4"))
    found = {m.workitem_uid: m.event for m in bench.parts.messages.listed(study_uid=study)}
    assert found.pop(bench.ticket(study)["workitem_uid"]) == "completed"
    assert found == {"failed": "failed", "canceled": "canceled"}
    assert [m.event for m in bench.parts.messages.listed(study_uid="1.2.3.4")] == ["not_performed"]


def test_only_the_newest_word_on_a_study_goes_out(told):
    with web() as ris:
        bench, study = told(hook(ris.url))
        wanted = AssessmentRequest(verdict="accepted")
        findings = bench.journal.current_findings(study)
        bench.parts.assessments.assess(findings, wanted, study_uid=study, reader="dr")
        for _ in range(2):  # the step may be repeated
            build_writer(bench.parts).write(study)
        while tell(bench) == 0:
            pass
    ((_, body),) = ris.got
    event = json.loads(body)
    assert (event["type"], event["data"]["findings"][0]["verdict"]) == (
        "study.assessed",
        "accepted",
    )
    assert [m.state for m in bench.parts.messages.listed()] == ["delivered", "superseded"]


def test_what_was_replaced_while_it_was_on_its_way_is_not_sent_again(told):
    with web(503) as ris:
        bench, study = told(hook(ris.url))
        first = bench.parts.messages.due("ris")
        bench.journal.end(
            bench.ticket(study, workitem_uid="next")["workitem_uid"], "COMPLETED", None
        )
        bench.parts.teller._note(
            first, bench.parts.teller._attempt(bench.settings.notify[0], first)
        )
    (_, old) = bench.parts.messages.listed()
    assert (old.state, old.attempts, old.next_attempt_at) == ("superseded", 1, None)


def test_a_target_gets_the_events_that_it_wants(told):
    bench, _ = told(hook("http://127.0.0.1:1", events=("failed",), accession=True))
    assert not bench.parts.messages.listed()


def test_people_try_again_and_cancel(told):
    with web(400) as ris:
        bench, study = told(hook(ris.url))
        tell(bench)
        known = bench.parts.messages
        with pytest.raises(Conflict, match="refused already"):
            known.cancel(only(bench).message_id)
        with pytest.raises(Conflict):
            known.start_over(target="other")
        assert [m.state for m in known.start_over(study_uid=study)] == ["refused"]
        known.cancel(only(bench).message_id)
        assert tell(bench) > 0
    assert (only(bench).state, len(ris.got)) == ("canceled", 1)


def asked(app, method: str, path: str) -> httpx.Response:
    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.request(method, f"/api/notifications{path}")

    return asyncio.run(answer())


def test_an_administrator_does_so_over_rest_and_by_command(told, capsys):
    bench, study = told(hook("http://127.0.0.1:1"))
    app = build(bench.parts)
    (listed,) = asked(app, "GET", "?state=waiting&target=ris").json()
    assert listed["study_uid"] == study
    assert "body" not in listed
    assert asked(app, "POST", "/retry?target=other").status_code == 409
    assert asked(app, "POST", f"/retry?study_uid={study}").status_code == 202
    place = f"/{listed['message_id']}/cancel"
    assert asked(app, "POST", place).json()["state"] == "canceled"
    assert asked(app, "POST", place).status_code == 409
    assert asked(app, "POST", "/none/cancel").status_code == 404
    bench.restarted()
    bench.analysed(ct(StudyInstanceUID="1.2.3.4"))
    assert retry(bench.settings, study_uid="1.2.3.4", target=None) == 0
    assert "1 notifications" in capsys.readouterr().out
    (waiting,) = bench.parts.messages.listed(state="waiting")
    assert cancel(bench.settings, waiting.message_id) == 0
    assert not bench.parts.messages.listed(state="waiting")


def test_what_waits_for_a_target_that_is_gone_is_given_up_after_days(told):
    bench, _ = told(hook("http://127.0.0.1:1"))
    bench.restarted(notify=())
    bench.parts.messages.give_up(planned_before=time.time() - 60)
    assert (only(bench).state, only(bench).words) == ("waiting", "the target is not configured")
    bench.parts.messages.give_up(planned_before=time.time() + 60)
    assert only(bench).state == "failed"


def test_a_study_stays_until_all_have_been_told_and_its_messages_go_with_it(told):
    with web() as ris:
        bench, study = told(hook(ris.url), retention={"max_age_days": 1, "keep_unassessed": False})
        complete(bench, study)
        bench.parts.client.cancel([bench.workitem(study).workitem_uid])  # no worker ends it here
        later = time.time() + 10 * 86400
        assert [each.kept for each in bench.parts.retention.plan(later)] == ["undelivered"]
        tell(bench)
        assert len(bench.parts.retention.run(later)) == 1
    assert not bench.parts.messages.listed()


def test_status_shows_what_waits_and_logs_tell_only_codes(told, capsys):
    with web(503) as ris:
        ris.said = b"PATIENT NAME"
        bench, _ = told(hook(ris.url))
        tell(bench)
    print_status(bench.settings)
    shown, logged = capsys.readouterr()
    assert "1 wait" in shown
    assert "HTTP 503" in shown
    assert "PATIENT" not in shown + logged


def test_check_looks_at_secret_and_receiver(tmp_path):
    with web() as ris:
        assert not _target(hook(ris.url)).problem
        assert "whsec_" in _target(hook(ris.url, secret="word")).problem
        away = hook(ris.url, secret="", secret_file=tmp_path / "none")
        assert "cannot be read" in _target(away).problem
    assert "no connection" in _target(hook(f"http://127.0.0.1:{free_port()}")).problem


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ({"url": "ftp://x"}, "not that of a web service"),
        ({"url": "http://ris.example/hook"}, "in the clear"),
        ({"url": "https://a:b@ris.example/hook"}, "secret"),
        ({"url": "https://ris.example/hook", "secret": ""}, "needs a secret"),
        ({"url": "https://ris.example/hook", "events": ["lunch"]}, "completed"),
        ({"url": "https://ris.example/hook", "name": "pacs"}, "'pacs' is there twice"),
    ],
)
def test_a_target_that_cannot_be_used_is_explained(target, problem):
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
    whole = {"name": "ris", "kind": "webhook", "secret": SECRET, **target}
    with pytest.raises(ValidationError, match=problem):
        Settings.model_validate({"peers": [pacs], "notify": [whole]})


def test_a_secret_comes_from_a_variable_or_a_file_beside_the_settings(tmp_path):
    entry = '[[notify]]\nname = "ris"\nkind = "webhook"\nurl = "https://ris.example/hook"\n'
    file = tmp_path / "wetread.toml"
    file.write_text(entry + 'secret_variable = "RIS_SECRET"\n')
    (target,) = load(file, {"RIS_SECRET": SECRET}).notify
    assert target.key() == KEY
    with pytest.raises(SetupError, match="RIS_SECRET"):
        load(file, {})
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    file.write_text(entry + 'secret_file = "secret"\n')
    (target,) = load(file, {}).notify
    assert target.key() == KEY
