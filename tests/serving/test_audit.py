"""What a visit, a retrieval, a delivery, a verdict and a removal leave in the audit trail."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from lxml import etree
from pydicom import Dataset
from starlette.types import ASGIApp

from dicom_node import schema
from dicom_node.audit.chain import AuditRecord
from dicom_node.schema_audit import audit_records
from scripts.pacs import PacsPlan
from scripts.receiver import Receiver
from serving.__main__ import main
from serving.audit_keeper import AuditKeeper
from serving.audit_web import ROUTES
from serving.backup import make_backup, restore
from serving.dicomweb.routes import services
from serving.parts import Parts
from serving.room import pages
from serving.settings import Settings, load
from serving.web import application
from tests.dicom_node.audit_rig import problems_of, values, written
from tests.dicom_node.rig import free_port, part10
from tests.serving.bench import Bench, mr, peer
from tests.serving.test_api import Web, close, study_of
from tests.serving.ups_steps import CLAIM, JSON, body, done, pushed, to

# What shows and changes nothing of a patient.
OTHERS = {"/healthz", "/readyz", "/metrics", "/models", "/models/{name}",
          "/models/{name}/versions", "/language/{language}",
          "/api/models", "/api/models/{name}/versions", "/api/models/{name}/history",
          "/api/models/{name}/comparison", "/api/models/{name}/monitoring",
          "/api/events"}  # fmt: skip
TOLD_BY_ITSELF = {"POST /dicomweb/studies", "POST /dicomweb/studies/{study}"}


class Visitor:
    """A person at the pages and interfaces of an installation, everything included."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.study = bench, study_of(bench)
        self.app: ASGIApp = application(bench.parts)

    def ask(self, method: str, path: str, *, host: str = "127.0.0.1", **sent: Any) -> int:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=("127.0.0.1", 5000))
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
                return await client.request(method, path, **sent)

        return asyncio.run(asked()).status_code

    def left(self) -> list[AuditRecord]:
        return written(self.bench.parts.auditor)

    def events(self) -> list[str]:
        return [record.event for record in self.left()]


@pytest.fixture
def visitor(analysed: Callable[..., Bench]) -> Visitor:
    bench = analysed(peers=(peer(),))
    close(bench, study_of(bench))
    return Visitor(bench)


def test_looking_at_a_study_is_one_record_whatever_is_loaded(visitor: Visitor):
    series = visitor.bench.index.study(visitor.study)
    stored = visitor.bench.index.instances_of(series.study_uid)
    first = next(each for each in stored if each.origin == "received")
    under = f"/dicomweb/studies/{visitor.study}/series/{first.series_uid}"
    for path in (
        f"/studies/{visitor.study}",
        f"/studies/{visitor.study}/series/{first.series_uid}/1.jpg",
        f"/api/studies/{visitor.study}",
        f"{under}/metadata",
        f"{under}/instances/{first.instance_uid}/frames/1",
        f"{under}/instances/{first.instance_uid}/rendered",
        f"/dicomweb/studies/{visitor.study}",
    ):
        assert visitor.ask("GET", path) == 200, path
    (record,) = visitor.left()
    assert (record.event, record.user, record.study_uid) == ("ACCESSED", "local", visitor.study)
    assert values(record, "//EventID/@csd-code") == ["110103"]
    assert values(record, "//ParticipantObjectIdentification/@ParticipantObjectID") == [
        visitor.study,
        visitor.bench.index.study(visitor.study).patient_id,
    ]
    assert values(record, "//ActiveParticipant/@NetworkAccessPointID") == ["127.0.0.1"]
    name = visitor.bench.index.study(visitor.study).patient_name
    assert name
    assert name not in record.message


def test_searches_downloads_and_refusals(visitor: Visitor):
    for _ in range(2):
        assert visitor.ask("GET", "/dicomweb/studies?PatientName=Doe*") == 200
        assert visitor.ask("GET", "/?text=Doe") == 200
        assert visitor.ask("GET", f"/api/studies/{visitor.study}/fhir") == 200
        for path in ("/dicomweb/studies", "/dicomweb/series"):
            assert visitor.ask("GET", path, host="elsewhere.example") == 403
        assert visitor.ask("GET", "/studies/1.2.3") == 404
        assert visitor.ask("GET", "/healthz") == 200
    events = visitor.events()
    assert sorted(events) == ["EXPORTED", "EXPORTED", "QUERIED", "QUERIED", "RESTRICTED"]
    query = visitor.left()[events.index("QUERIED")]
    assert values(query, "//ParticipantObjectQuery/text()") == ["UGF0aWVudE5hbWU9RG9lKg=="]


def test_verdicts_and_steering_are_recorded_before_the_answer(visitor: Visitor):
    path = f"/api/studies/{visitor.study}/assessments"
    assert visitor.ask("POST", path, json={"verdict": "accepted"}) == 201
    (record,) = visitor.bench.parts.audit_chain.records()  # nothing waits to be written
    assert (record.event, record.user, record.study_uid) == ("ASSESSED", "local", visitor.study)
    action = visitor.bench.parts.assessments.history(visitor.study)[0].action
    assert visitor.ask("POST", f"{path}/{action}/undo") == 201
    assert visitor.ask("POST", f"{path}/{action}/undo") == 409
    assert visitor.ask("POST", f"/api/studies/{visitor.study}/reanalyse") == 202
    work = visitor.bench.workitem(visitor.study).workitem_uid
    assert visitor.ask("PATCH", f"/api/workitems/{work}", json={"priority": 1}) == 200
    assert visitor.ask("POST", f"/api/workitems/{work}/cancel") == 200
    assert visitor.events() == ["ASSESSED", "UNDONE", "REANALYSED", "PRIORITISED", "CANCELED"]
    assert {record.study_uid for record in visitor.left()} == {visitor.study}


def test_the_secret_of_a_claimed_work_item_is_not_recorded(visitor: Visitor):
    def sent(method: str, path: str, ds: Dataset | None = None, content: Any = None) -> int:
        return visitor.ask(
            method, f"/dicomweb/workitems{path}", json=content or body(ds), headers=JSON
        )

    assert sent("POST", "?1.9", pushed()) == 201
    assert sent("PUT", "/1.9/state", content=to("IN PROGRESS")) == 200
    assert sent("POST", f"/1.9?{CLAIM}", done()) == 200
    records = visitor.left()
    assert [record.event for record in records] == ["WORKITEM_CHANGED"] * 3
    assert "/dicomweb/workitems?1.9" in records[0].message
    assert not [record for record in records if CLAIM in record.message]


def test_every_route_is_recorded_or_known_to_show_nothing(visitor: Visitor):
    described = Web(visitor.bench).app.openapi()["paths"]
    known = {(method.upper(), path) for path, methods in described.items() for method in methods}
    known |= {(method, r.path) for r in pages.router.routes for method in r.methods}  # type: ignore[attr-defined]
    known |= {(s.method, f"/dicomweb{s.path}") for s in services(visitor.bench.parts)}
    missed = {
        f"{method} {path}"
        for method, path in known
        if path not in OTHERS
        and not any(r.method == method and r.path.fullmatch(path) for r in ROUTES)
    }
    assert ("PATCH", "/api/workitems/{workitem_uid}") in known
    assert missed == TOLD_BY_ITSELF


def test_the_gate_tells_who_asks(visitor: Visitor):
    word, here = "correct horse battery", {"Origin": "http://127.0.0.1"}
    people = visitor.bench.parts.people
    people.add_user("ann", "reader", word)
    for name, status in (("bob", 401), ("ann", 303)):
        form = {"name": name, "password": word}
        assert visitor.ask("POST", "/sign-in", data=form, headers=here) == status
    session = {"Cookie": f"wetread-session={people.sign_in('ann', word)}"}
    assert visitor.ask("GET", f"/studies/{visitor.study}", headers={"Accept": "text/html"}) == 303
    assert visitor.ask("GET", f"/studies/{visitor.study}", headers=session) == 200
    assert visitor.ask("POST", "/sign-out", headers=session | here) == 303
    assert [(r.event, r.user, *values(r, "//@EventOutcomeIndicator")) for r in visitor.left()] == [
        ("SIGNED_IN", "bob", "4"),
        ("SIGNED_IN", "ann", "0"),
        ("ACCESSED", "ann", "0"),
        ("SIGNED_OUT", "ann", "0"),
    ]


def test_what_a_client_stores_is_a_transfer(visitor: Visitor):
    study = mr(StudyInstanceUID="1.2.3.4", PatientID="P77")
    for image in study:
        image.SOPInstanceUID += ".1"
    head = b"--x\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + part10(image) + b"\r\n" for image in study) + b"--x--\r\n"
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    assert visitor.ask("POST", "/dicomweb/studies", content=body, headers=kind) == 200
    begin, done = visitor.left()
    assert (begin.event, done.event, done.study_uid) == ("TRANSFER_BEGUN", "TRANSFERRED", "1.2.3.4")
    assert values(done, "//SOPClass/@NumberOfInstances") == [str(len(study))]
    assert "P77" in done.message


def test_a_delivery_says_when_it_begins_and_what_arrived(
    analysed: Callable[..., Bench], tmp_path: Path
):
    plan = PacsPlan(
        folder=tmp_path / "received",
        dicom_port=free_port(),
        http_port=0,
        forward_to=peer().ae_title,
        forward_port=1,
    )
    receiver = Receiver(plan)
    bench = analysed(peers=(peer(port=plan.dicom_port, query=True),))
    results = sorted(d.instance_uid for d in bench.journal.deliveries())
    bench.courier().attempt("pacs", results, 0)
    receiver.stop()
    begin, done = written(bench.parts.auditor)
    assert (begin.event, done.event) == ("TRANSFER_BEGUN", "TRANSFERRED")
    assert [str(sum(map(int, values(done, "//SOPClass/@NumberOfInstances"))))] == [
        str(len(results))
    ]
    assert values(done, "//ActiveParticipant/@UserID")[1] == "pacs"
    bench.courier().attempt("pacs", results, 1)
    assert len(written(bench.parts.auditor)) == 2


# The commands, and what becomes of records

_TOML = """
data_folder = "data"
[audit]
keep_days = 30
head_min = 0.001
[retention]
max_age_days = 0.000001
keep_unassessed = false
"""


def test_the_commands_verify_list_and_export(
    visitor: Visitor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    settings = tmp_path / "wetread.toml"
    settings.write_text(_TOML)

    def wetread(*arguments: str) -> tuple[int, str]:
        code = main(["--settings", str(settings), *arguments])
        return code, capsys.readouterr().out

    visitor.ask("GET", f"/studies/{visitor.study}")
    visitor.ask("GET", "/")
    visitor.bench.parts.auditor.flush()
    code, out = wetread("audit", "verify")
    head = visitor.bench.parts.audit_chain.head()
    assert (code, str(head) in out, "--head" in out) == (0, True, True)
    code, out = wetread("audit", "export", "--study", visitor.study, "--user", "local")
    assert len(out.splitlines()) == 1
    assert problems_of(out.splitlines()) == []
    assert visitor.study in wetread("audit", "list", "--since", "2000-01-01")[1]
    assert "ACCESSED" not in wetread("audit", "list", "--since", "2999-01-01")[1]
    assert wetread("audit", "list", "--since", "yesterday")[0] == 1
    assert visitor.events()[2:] == ["LOG_USED"] * 3
    assert wetread("audit", "verify", "--head", head.digest)[0] == 0
    with schema.writing(visitor.bench.index.engine) as db:
        db.execute(audit_records.delete().where(audit_records.c.number == 2))
    assert wetread("audit", "verify")[0] == 1


def test_removing_a_study_and_old_records_is_recorded(visitor: Visitor, tmp_path: Path):
    visitor.ask("GET", f"/studies/{visitor.study}")
    visitor.bench.parts.auditor.flush()
    settings = tmp_path / "wetread.toml"
    settings.write_text(_TOML)
    parts = Parts(load(settings, {}))
    patient = parts.index.study(visitor.study).patient_id
    with schema.writing(parts.index.engine) as db:
        db.execute(schema.deliveries.update().values(state="proven"))
    (gone,) = parts.retention.run(time.time())
    deleted = list(parts.audit_chain.records())[-1]
    assert (deleted.event, deleted.study_uid) == ("STUDY_DELETED", gone.study_uid)
    assert patient in values(deleted, "//@ParticipantObjectID")
    keeper = AuditKeeper(parts)
    keeper.look(time.time())
    assert parts.audit_chain.verify().records == 2
    keeper.look(time.time() + 31 * 86400)
    verdict = parts.audit_chain.verify()
    assert (verdict.records, verdict.problems, verdict.head.number) == (1, (), 3)
    (left,) = parts.audit_chain.records()
    assert etree.fromstring(left.message).xpath("string(//EventTypeCode/@originalText)") == (
        "Audit records removed"
    )


def test_nothing_is_removed_that_the_collector_has_not_got(visitor: Visitor):
    visitor.ask("GET", f"/studies/{visitor.study}")
    visitor.bench.parts.auditor.flush()
    audit = {"keep_days": 1.0, "syslog": f"tls://localhost:{free_port()}"}
    visitor.bench.restarted(audit=audit)
    keeper = AuditKeeper(visitor.bench.parts)
    with pytest.raises(OSError, match="refused"):
        keeper.look(time.time() + 99 * 86400)
    assert visitor.bench.parts.audit_chain.verify().records == 1


def test_a_backup_keeps_the_chain_whole(visitor: Visitor, tmp_path: Path):
    for path in ("/", f"/studies/{visitor.study}"):
        visitor.ask("GET", path)
    visitor.bench.parts.auditor.flush()
    head = visitor.bench.parts.audit_chain.head()
    backup, _ = make_backup(visitor.bench.settings, tmp_path / "backups", time.time())
    settings = Settings(data_folder=tmp_path / "elsewhere")
    restore(settings, backup)
    chain = Parts(settings).audit_chain
    assert (chain.head(), chain.verify(head.digest).problems) == (head, ())
