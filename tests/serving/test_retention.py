"""Studies are removed by age and by size, whole or not at all, and come back as new ones."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node import schema
from dicom_node.records import Added, SetAside
from imaging.errors import NotFound, OtherPatient
from imaging.identity import AETitle
from imaging.reasons import reason
from scripts.pacs import PacsPlan
from scripts.receiver import Receiver
from serving.__main__ import main
from serving.assessments import AssessmentRequest
from serving.retention import Retention
from serving.sections import RetentionSettings
from serving.settings import load
from serving.ups import rules
from serving.ups.states import State
from serving.ups.step import Step
from serving.worker import build_writer
from tests.dicom_node.rig import free_port, store, wait_for
from tests.serving.bench import Bench, mr, peer
from tests.serving.test_metrics import figures
from tests.serving.test_operations import complete
from tests.serving.ups_steps import pushed

DAY_S = 86400.0
_KILLED = """
import os, signal, sys, time
from pathlib import Path
from serving.parts import Parts
from serving.settings import load
parts, left = Parts(load(Path(sys.argv[1]), {})), int(sys.argv[2])
remove = parts.archive.remove
def killed(path):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    remove(path)
parts.archive.remove = killed
parts.retention.run(time.time())
"""
_WORKER = """
data_folder = "data"
[delivery]
identity = "ignore"
[retention]
max_age_days = 30
keep_unassessed = false
every_min = 0.005
[[peers]]
name = "pacs"
ae_title = "RECEIVER"
host = "127.0.0.1"
port = {port}
query = true
deliver = true
"""
OLD = RetentionSettings(max_age_days=30, keep_unassessed=False)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path, retention=OLD, peers=(peer(),))
    made.install()
    return made


def analysed(bench: Bench, number: int = 1, **ticket: object) -> str:
    """A study of long ago that was analysed and delivered."""
    uid = f"1.2.3.{number}"
    study = bench.receive(mr(StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1"))
    complete(bench, study)
    bench.run(bench.ticket(study, **ticket))
    bench.journal.end(bench.workitem(study).workitem_uid, "COMPLETED", None)
    bench.parts.client.cancel([bench.workitem(study).workitem_uid])  # no worker ends it here
    arrived(bench, study)
    aged(bench, study, days=40)
    return study


def arrived(bench: Bench, study: str, state: str = "proven") -> None:
    uids = [item.instance_uid for item in bench.journal.deliveries(study_uid=study)]
    bench.journal.update_deliveries(uids, "pacs", state, proof="C-FIND")


def aged(bench: Bench, study: str, *, days: float) -> None:
    at = time.time() - days * DAY_S
    with schema.writing(bench.index.engine) as db:
        where = schema.studies.c.study_uid == study
        db.execute(sa.update(schema.studies).where(where).values(last_received_at=at))


def files(bench: Bench) -> list[Path]:
    found = os.walk(bench.settings.instances_folder)  # does not mind what goes meanwhile
    return sorted(
        Path(at) / name for at, _, names in found for name in names if name[-4:] == ".dcm"
    )


def rows(bench: Bench, study: str) -> dict[str, int]:
    """How many rows of each table are of a study, but for what tells that they were here."""
    found = {}
    with bench.index.engine.connect() as db:
        for name, table in schema.metadata.tables.items():
            if "study_uid" in table.c and name not in {"events", "audit_records"}:
                query = sa.select(sa.func.count()).where(table.c.study_uid == study)
                found[name] = db.execute(query.select_from(table)).scalar_one()
    return found


def kept(bench: Bench) -> dict[str, str | None]:
    return {each.study_uid: each.kept for each in bench.parts.retention.plan(time.time())}


def test_an_old_study_goes_with_all_that_was_made_of_it(bench: Bench):
    gone, stays = analysed(bench, 1), analysed(bench, 2)
    aged(bench, stays, days=20)
    for transaction, study in (("1.9.1", gone), ("1.9.2", stays)):
        bench.parts.transactions.ask(transaction, "pacs")
        sent = [item.instance_uid for item in bench.journal.deliveries(study_uid=study)]
        bench.journal.note_transaction(sent, "pacs", transaction)
    before = rows(bench, stays)
    assert min(rows(bench, gone)[name] for name in ("instances", "results", "findings")) > 0

    assert [each.study_uid for each in bench.parts.retention.run(time.time())] == [gone]
    assert set(rows(bench, gone).values()) == {0}
    assert rows(bench, stays) == before
    assert all(stays in str(file) for file in files(bench))
    assert not (bench.settings.instances_folder / "default" / gone).exists()
    with pytest.raises(NotFound):
        bench.index.study(gone)
    assert bench.parts.transactions.asked("1.9.1") is None
    assert bench.parts.transactions.asked("1.9.2") is not None
    assert figures(bench)["wetread_studies_removed",] == 1
    told = [e for e in bench.journal.events_after(0) if e.kind == "removed"]
    assert [event.study_uid for event in told] == [gone]
    assert "older than 30 days" in told[0].text
    assert bench.parts.retention.run(time.time()) == ()


def test_without_a_limit_nothing_goes(bench: Bench):
    analysed(bench)
    bench.restarted(retention=RetentionSettings())
    assert bench.parts.retention.run(time.time()) == ()
    assert files(bench)


def test_above_the_size_the_oldest_go_first(bench: Bench):
    studies = [analysed(bench, number) for number in (1, 2, 3)]
    for study, days in zip(studies, (2, 3, 1), strict=True):
        aged(bench, study, days=days)
    sizes = [sum(i.size for i in bench.index.instances_of(study)) for study in studies]
    bench.restarted(
        retention=RetentionSettings(max_gb=(sizes[0] + sizes[2] + 1) / 2**30, keep_unassessed=False)
    )
    assert [each.study_uid for each in bench.parts.retention.run(time.time())] == [studies[1]]
    assert kept(bench) == {}


def receiving(bench: Bench, study: str) -> None:
    store(bench.parts.ingest, mr(StudyInstanceUID=study, SeriesInstanceUID=f"{study}.2")[0])
    aged(bench, study, days=40)


def canceled(bench: Bench, study: str) -> None:
    bench.journal.end(bench.workitem(study).workitem_uid, "CANCELED", None)


def waiting_for_analysis(bench: Bench, study: str) -> None:
    bench.journal.schedule(f"{study}-again", study_uid=study, content_digest="other", priority=5)


def never_analysed(bench: Bench, study: str) -> None:
    with schema.writing(bench.index.engine) as db:
        db.execute(sa.delete(schema.workitems).where(schema.workitems.c.study_uid == study))


def set_aside(bench: Bench, study: str) -> None:
    bench.journal.note_failure(bench.workitem(study).workitem_uid, reason("POISON", tries=3))


def otherwise_analysed(bench: Bench, study: str) -> None:
    with schema.writing(bench.index.engine) as db:
        where = schema.workitems.c.study_uid == study
        db.execute(sa.update(schema.workitems).where(where).values(content_digest="earlier"))


def result_held(bench: Bench, study: str) -> None:
    report = bench.results(study)["SR"]
    with schema.writing(bench.index.engine) as db:
        where = schema.deliveries.c.instance_uid == report.instance_uid
        db.execute(sa.delete(schema.deliveries).where(where))
    bench.journal.record_result(report.model_copy(update={"state": "held"}))


def delivery(state: str) -> Callable[[Bench, str], None]:
    def change(bench: Bench, study: str) -> None:
        item = bench.journal.deliveries(study_uid=study)[0]
        proof = "" if state == "delivered" else "C-FIND"
        bench.journal.update_deliveries([item.instance_uid], "pacs", state, proof=proof)

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (receiving, "receiving"),
        (canceled, "unanalysed"),
        (never_analysed, "unanalysed"),
        (set_aside, "unanalysed"),
        (otherwise_analysed, "unanalysed"),
        (waiting_for_analysis, "in work"),
        (result_held, "undelivered"),
        (delivery("waiting"), "undelivered"),
        (delivery("held"), "undelivered"),
        (delivery("failed"), "undelivered"),
        (delivery("delivered"), "undelivered"),
    ],
)
def test_what_is_not_done_stays_whatever_the_limits_say(bench: Bench, change, why):
    study = analysed(bench)
    change(bench, study)
    before, there = rows(bench, study), files(bench)
    bench.restarted(retention=OLD.model_copy(update={"max_gb": 1e-9}))
    assert kept(bench) == {study: why}
    assert bench.parts.retention.run(time.time()) == ()
    assert (rows(bench, study), files(bench)) == (before, there)


def test_what_was_refused_stays_unless_something_else_arrived(bench: Bench):
    study = analysed(bench)
    delivery("refused")(bench, study)
    assert kept(bench) == {study: None}
    arrived(bench, study, "refused")
    assert kept(bench) == {study: "undelivered"}


def test_findings_wait_for_a_reader(bench: Bench):
    study = analysed(bench)
    bench.restarted(retention=RetentionSettings(max_age_days=30))
    assert kept(bench) == {study: "unassessed"}
    verdict = AssessmentRequest.model_validate({"verdict": "accepted"})
    findings = bench.journal.current_findings(study)
    bench.parts.assessments.assess(findings, verdict, study_uid=study, reader="local")
    assert kept(bench) == {study: "undelivered"}
    build_writer(bench.parts).write(study)
    assert kept(bench) == {study: "undelivered"}
    arrived(bench, study)
    assert kept(bench) == {study: None}


def test_a_study_that_changes_while_it_is_judged_stays(bench: Bench):
    study = analysed(bench)
    (planned,) = bench.parts.retention.plan(time.time())
    receiving(bench, study)
    assert not bench.parts.retention._remove(planned, 1.0)
    aged(bench, study, days=40)
    assert rows(bench, study)["instances"] > 0
    assert not bench.parts.retention._remove(replace(planned, received=planned.received + 1), 1.0)


class Killed(BaseException):
    """The process dies here."""


def killed(*_: object) -> None:
    raise Killed


def test_removal_goes_on_after_it_was_killed_before_the_files(bench: Bench, monkeypatch):
    study = analysed(bench)
    number = len(files(bench))
    monkeypatch.setattr(bench.parts.retention._removal, "finish", lambda: 0)
    bench.parts.retention.run(time.time())
    assert set(rows(bench, study).values()) == {0}
    assert len(files(bench)) == number
    assert figures(bench)["wetread_files_to_remove",] == number
    bench.restarted()
    bench.parts.retention.run(time.time())
    assert files(bench) == []


def test_removal_goes_on_after_it_was_killed_among_the_files(bench: Bench, monkeypatch):
    analysed(bench)
    removed, remove = [], bench.parts.archive.remove

    def dies_at_the_third(path: str) -> None:
        if len(removed) == 2:
            raise Killed
        remove(path)
        removed.append(path)

    monkeypatch.setattr(bench.parts.archive, "remove", dies_at_the_third)
    with pytest.raises(Killed):
        bench.parts.retention.run(time.time())
    bench.restarted()
    bench.parts.retention.run(time.time())
    assert files(bench) == []


def test_a_study_whose_rows_were_not_deleted_in_the_end_is_whole(bench: Bench, monkeypatch):
    study = analysed(bench)
    before, there = rows(bench, study), files(bench)
    monkeypatch.setattr(Retention, "_note", killed)
    with pytest.raises(Killed):
        bench.parts.retention.run(time.time())
    bench.restarted()
    assert (rows(bench, study), files(bench)) == (before, there)


def test_a_study_that_comes_again_is_analysed_again(bench: Bench):
    study = analysed(bench)
    bench.parts.retention.run(time.time())
    bench.receive(mr(StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1"))
    complete(bench, study)
    assert bench.workitem(study).state == "SCHEDULED"
    assert bench.parts.client.find(bench.workitem(study).workitem_uid).status == "ENQUEUED"


def test_what_comes_again_before_its_files_are_gone_keeps_them(bench: Bench, monkeypatch):
    study = analysed(bench)
    images = mr(StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1")
    with monkeypatch.context() as patch:
        patch.setattr(bench.parts.retention._removal, "finish", lambda: 0)
        bench.parts.retention.run(time.time())
    bench.receive(images)
    bench.parts.retention.run(time.time())
    assert len(files(bench)) == len(images)
    assert all(bench.parts.archive.holds(i.path) for i in bench.index.instances_of(study))


def test_a_file_removed_between_writing_and_indexing_is_written_again(bench: Bench, monkeypatch):
    study = analysed(bench)
    images = mr(StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1")
    retention, put = bench.parts.retention, bench.parts.archive.put
    with monkeypatch.context() as patch:
        patch.setattr(retention._removal, "finish", lambda: 0)
        retention.run(time.time())

    def put_and_lose(*arguments):
        kept = put(*arguments)
        retention._removal.finish()
        return kept

    monkeypatch.setattr(bench.parts.archive, "put", put_and_lose)
    stored = store(bench.parts.ingest, images[0])
    assert stored.added is Added.NEW
    assert bench.parts.archive.holds(stored.record.path)


@pytest.mark.parametrize("asked", ["index", "archive"])
def test_other_content_of_a_study_that_goes_just_then_is_taken_in(bench, monkeypatch, asked):
    """It was to be compared with what is here, and that is removed before it can be."""
    study = analysed(bench)
    image = mr(StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1")[0]
    image.SeriesDescription = "changed"
    part, name = {
        "index": (bench.index, "instance"),
        "archive": (bench.parts.archive, "read"),
    }[asked]
    look = getattr(part, name)

    def removed_before(key: str):
        monkeypatch.setattr(part, name, look)
        assert bench.parts.retention.run(time.time())
        return look(key)

    monkeypatch.setattr(part, name, removed_before)
    stored = store(bench.parts.ingest, image)
    assert stored.added is Added.NEW
    assert files(bench) == [bench.parts.archive.file(stored.record.path)]


def test_what_is_set_aside_of_a_study_that_goes_just_then_has_its_file(bench, monkeypatch):
    """Else a row would name a file that is not there, and no backup could be made."""
    study = analysed(bench)
    other = mr(StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1", PatientID="other")[0]
    other.SOPInstanceUID = f"{study}.1.99"
    for _ in range(2):
        with pytest.raises(OtherPatient):
            store(bench.parts.ingest, other)
    add = bench.index.add_set_aside

    def removed_before(item: SetAside) -> bool:
        monkeypatch.setattr(bench.index, "add_set_aside", add)
        assert bench.parts.retention.run(time.time())
        return add(item)

    monkeypatch.setattr(bench.index, "add_set_aside", removed_before)
    with pytest.raises(OtherPatient):
        store(bench.parts.ingest, other)
    (aside,) = bench.index.set_aside()
    assert files(bench) == [bench.parts.archive.file(aside.path)]


@pytest.mark.parametrize("number", [0, 3])
def test_a_process_that_is_killed_while_it_removes_leaves_nothing_for_ever(bench, tmp_path, number):
    study = analysed(bench)
    there = len(files(bench))
    (tmp_path / "wetread.toml").write_text(
        'data_folder = "data"\n[retention]\nmax_age_days = 30\nkeep_unassessed = false\n'
    )
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "wetread.toml"), str(number)]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert set(rows(bench, study).values()) == {0}
    assert len(files(bench)) == there - number
    image = mr(StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1")[0]
    stored = store(bench.parts.ingest, image)
    bench.restarted()
    bench.parts.retention.run(time.time())
    assert files(bench) == [bench.parts.archive.file(stored.record.path)]


def test_studies_come_again_while_they_are_removed(bench: Bench):
    """Both at once, in threads: each image that was taken in is there."""
    study = analysed(bench)
    images = mr(StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1")
    remover = threading.Thread(target=bench.parts.retention.run, args=[time.time()])
    remover.start()
    bench.receive(images)
    remover.join()
    bench.receive(images)
    instances = bench.index.instances_of(study)
    assert len(instances) >= len(images)
    assert all(bench.parts.archive.holds(each.path) for each in instances)
    assert bench.index.study(study).received == len(images)


def test_a_worker_removes_what_it_has_done_and_does_it_again(bench: Bench, tmp_path: Path):
    """In a real worker process, to a real destination."""
    plan = PacsPlan(
        folder=tmp_path / "pacs",
        dicom_port=free_port(),
        http_port=1,
        forward_to=AETitle("NOBODY"),
        forward_port=1,
    )
    pacs, file = Receiver(plan), tmp_path / "wetread.toml"
    file.write_text(_WORKER.format(port=plan.dicom_port))
    bench.restarted(peers=load(file, {}).peers)
    command = [sys.executable, "-m", "serving", "--settings", str(file), "worker"]
    worker = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        for _ in range(2):
            study = bench.receive(mr())
            complete(bench, study)
            wait_for(partial(is_proven, bench, study), seconds=200)
            results = {result.instance_uid for result in bench.journal.results(study_uid=study)}
            assert pacs.instances(study) == results
            aged(bench, study, days=40)
            wait_for(lambda: files(bench) == [], seconds=200)
            assert set(rows(bench, study).values()) == {0}
    finally:
        worker.kill()
        worker.wait()
        pacs.stop()


def is_proven(bench: Bench, study: str) -> bool:
    states = [item.state for item in bench.journal.deliveries(study_uid=study)]
    return states == ["proven"] * 3


def test_studies_are_removed_from_postgresql_too(tmp_path: Path, postgresql_url: str):
    made = Bench(tmp_path, retention=OLD, peers=(peer(),), database_url=postgresql_url)
    made.install()
    study = analysed(made)
    assert [each.study_uid for each in made.parts.retention.run(time.time())] == [study]
    assert set(rows(made, study).values()) == {0}
    assert files(made) == []
    made.parts.client._client.destroy()
    made.parts.client._engine.dispose()
    made.index.engine.dispose()


def test_postgresql_lets_what_comes_wait_for_the_end_of_a_removal(
    tmp_path: Path, postgresql_url: str, monkeypatch
):
    """What was set aside comes again while its study goes, and is of the right patient then."""
    made = Bench(tmp_path, retention=OLD, peers=(peer(),), database_url=postgresql_url)
    made.install()
    study = analysed(made)
    other = mr(StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1", PatientID="other")[0]
    other.SOPInstanceUID = f"{study}.1.99"
    with pytest.raises(OtherPatient):
        store(made.parts.ingest, other)
    again = threading.Thread(target=store, args=[made.parts.ingest, other])
    note = Retention._note

    def noted(*arguments):
        again.start()
        wait_for(lambda: waits_for_a_lock(made) or not again.is_alive(), seconds=60)
        note(*arguments)

    monkeypatch.setattr(Retention, "_note", noted)
    assert made.parts.retention.run(time.time())
    again.join()
    made.parts.retention._removal.finish()
    (stored,) = made.index.instances_of(study)
    assert files(made) == [made.parts.archive.file(stored.path)]
    made.parts.client._client.destroy()
    made.parts.client._engine.dispose()
    made.index.engine.dispose()


def waits_for_a_lock(bench: Bench) -> bool:
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with bench.index.engine.connect() as db:
        return bool(db.execute(sa.text(query)).scalar_one())


def test_the_command_shows_and_removes(bench: Bench, tmp_path: Path, capsys):
    gone, stays = analysed(bench, 1), analysed(bench, 2)
    arrived(bench, stays, "waiting")
    file = tmp_path / "wetread.toml"
    file.write_text(
        'data_folder = "data"\n[retention]\nmax_age_days = 30\nkeep_unassessed = false\n'
    )
    for options, text in (
        (["--dry-run"], "1 studies would go"),
        ([], "1 studies went"),
        ([], "0 studies went"),
    ):
        assert main(["--settings", str(file), "retention", *options]) == 0
        told = capsys.readouterr().out
        assert text in told
        assert "1 beyond a limit stay: 1 undelivered" in told
    assert rows(bench, gone)["instances"] == 0
    assert rows(bench, stays)["instances"] > 0


def test_the_command_says_that_nothing_is_limited(bench: Bench, tmp_path: Path, capsys):
    file = tmp_path / "wetread.toml"
    file.write_text('data_folder = "data"\n')
    assert main(["--settings", str(file), "retention"]) == 0
    assert "every study is kept" in capsys.readouterr().out


def test_a_study_stays_while_another_system_waits_for_its_work_item(bench: Bench):
    study = analysed(bench)
    ds = pushed(StudyInstanceUID=study)
    content, _ = rules.created(ds.to_json_dict(), "1.9", 1.0)
    bench.parts.worklist.create(Step(ups_uid="1.9", content=content, pushed=True, created_at=1.0))
    assert kept(bench) == {study: "in work"}
    with bench.parts.worklist.changing("1.9") as change:
        change.set(state=State.CANCELED, ended_at=2.0)
    assert kept(bench) == {study: None}
    bench.parts.retention.run(time.time())
    with pytest.raises(NotFound):
        bench.parts.worklist.step("1.9")
