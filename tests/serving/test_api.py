import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from dicom_node.records import Completion
from imaging.reasons import Reason
from serving.app import build
from serving.records import Result
from tests.models.networks import SEGMENTATION
from tests.serving.bench import MODEL, Bench, ct, mr, peer


class Web:
    """The application, asked in process."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.app: FastAPI = build(bench.parts)

    def ask(self, method: str, path: str, **sent: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://web") as client:
                return await client.request(method, path, **sent)

        return asyncio.run(asked())

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def web(analysed: Callable[..., Bench]) -> Web:
    """On an installation with one analysed study."""
    bench = analysed(peers=(peer(),))
    close(bench, study_of(bench))
    return Web(bench)


def study_of(bench: Bench) -> str:
    return bench.index.studies().studies[0].study_uid


def close(bench: Bench, study: str) -> None:
    bench.index.mark_complete(
        Completion(
            study_uid=study,
            received=bench.index.study(study).received,
            completeness="confirmed",
            text="the PACS counts the same instances",
            content_digest=bench.index.content_digest(study),
            at=1.0,
        )
    )


def problem(answer: httpx.Response, status: int) -> str:
    """Check an error answer (RFC 9457) and return its detail."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail"}
    assert (body["status"], body["type"]) == (status, "about:blank")
    assert body["title"]
    return str(body["detail"])


# Studies


def test_studies_are_listed(web: Web):
    bench = web.bench
    second = bench.receive(ct(PatientID="PH-2", AccessionNumber="B7", StudyDate="20250101"))
    found = web.get("/api/studies")
    assert found["total"] == 2
    newest, oldest = found["studies"]
    assert (newest["study_uid"], newest["state"], newest["modality"]) == (second, "receiving", "CT")
    assert (oldest["state"], oldest["analysed"], oldest["reason"]) == ("delivering", True, None)
    assert (oldest["patient_name"], oldest["completeness"]) == ("Phantom^Phyllis", "confirmed")


def test_studies_are_looked_for(web: Web):
    web.bench.receive(ct(PatientID="PH-2", AccessionNumber="B7", StudyDate="20250101"))
    for query, modalities in (
        ("modality=CT", ["CT"]),
        ("modality=mr", ["MR"]),
        ("text=phyllis", ["CT", "MR"]),
        ("text=%25", []),
        ("patient_id=PH-2", ["CT"]),
        ("accession_number=B7", ["CT"]),
        ("receiving=true", ["CT"]),
        ("receiving=false", ["MR"]),
        ("date_from=20250101", ["CT"]),
        ("date_to=20241231", ["MR"]),
        ("limit=1", ["CT"]),
        ("limit=1&offset=1", ["MR"]),
        ("offset=2", []),
    ):
        found = web.get(f"/api/studies?{query}")
        assert [study["modality"] for study in found["studies"]] == modalities, query
        paged = "limit" in query or "offset" in query
        assert found["total"] == (2 if paged else len(modalities)), query


def test_a_study_tells_everything(web: Web):
    study = web.get(f"/api/studies/{study_of(web.bench)}")
    counts = {s["modality"]: (s["instances"], s["results"]) for s in study["series"]}
    assert counts == {"MR": (5, 0), "SEG": (1, 1), "SR": (1, 1), "OT": (1, 1)}
    assert [d["chosen"] for d in study["decisions"]] == [True]
    assert [r["code"] for r in study["decisions"][0]["reasons"]] == ["CHOSEN"]
    assert [w["state"] for w in study["workitems"]] == ["COMPLETED"]
    assert study["findings"][0]["measurements"][0]["unit"] == "ml"
    assert {r["kind"] for r in study["results"]} == {"SEG", "SR", "KEY_IMAGE"}
    assert {d["state"] for d in study["deliveries"]} == {"waiting"}
    assert study["set_aside"] == []


def test_the_state_follows_the_work(web: Web):
    bench, study = web.bench, study_of(web.bench)

    def state() -> str:
        return str(web.get(f"/api/studies/{study}")["state"])

    uids = [r.instance_uid for r in bench.results(study).values()]
    assert state() == "delivering"
    bench.journal.update_deliveries(uids[:1], "pacs", "proven", proof="C-FIND")
    bench.journal.update_deliveries(uids[1:], "pacs", "delivered", proof="C-STORE status")
    assert state() == "done"
    bench.journal.update_deliveries(uids[:1], "pacs", "failed", error="refused")
    assert state() == "failed"
    bench.ticket(study, workitem_uid="again")
    assert state() == "waiting"
    bench.journal.begin("again")
    assert state() == "analysing"
    bench.journal.end("again", "CANCELED", Reason(code="POISON", text="it was set aside"))
    assert state() == "failed"
    assert web.get(f"/api/studies/{study}")["reason"] == "it was set aside"
    bench.receive(mr((7, 16, 16), SeriesInstanceUID="1.2.3", StudyInstanceUID=study))
    assert state() == "receiving"


def test_a_held_result_is_shown_as_a_failure(web: Web):
    bench, study = web.bench, study_of(web.bench)
    seg = bench.results(study)["SEG"]
    bench.journal.record_result(
        Result(**{**seg.model_dump(), "state": "held", "problems": ("a check",)})
    )
    found = web.get(f"/api/studies/{study}")
    assert found["state"] == "failed"
    assert ["a check"] in [r["problems"] for r in found["results"]]


def test_what_was_set_aside_is_shown(web: Web):
    bench = web.bench
    (other, *_) = mr(PatientID="OTHER")
    other.SOPInstanceUID = "1.2.3.4"
    with pytest.raises(Exception, match="another patient"):
        bench.receive([other])
    (item,) = web.get(f"/api/studies/{study_of(bench)}")["set_aside"]
    assert (item["code"], item["instance_uid"]) == ("OTHER_PATIENT", "1.2.3.4")


# Work


def test_analysing_again_canceling_and_retrying(web: Web):
    study = study_of(web.bench)
    answer = web.ask("POST", f"/api/studies/{study}/reanalyse")
    assert answer.status_code == 202
    item = answer.json()
    assert item["state"] == "SCHEDULED"
    problem(web.ask("POST", f"/api/studies/{study}/reanalyse"), 409)
    path = f"/api/workitems/{item['workitem_uid']}"
    assert web.get(path) == item
    assert [w["workitem_uid"] for w in web.get("/api/workitems?state=SCHEDULED")] == [
        item["workitem_uid"]
    ]
    problem(web.ask("POST", f"{path}/retry"), 409)
    canceled = web.ask("POST", f"{path}/cancel")
    assert (canceled.status_code, canceled.json()["state"]) == (200, "CANCELED")
    assert "CANCELED already" in problem(web.ask("POST", f"{path}/cancel"), 409)
    again = web.ask("POST", f"{path}/retry")
    assert again.status_code == 202
    assert again.json()["workitem_uid"] != item["workitem_uid"]
    assert len(web.get("/api/workitems")) == 3


def test_models_are_listed_with_their_problems(web: Web):
    broken = web.bench.settings.models_folder / "broken"
    broken.mkdir()
    (broken / "model.toml").write_text(SEGMENTATION.replace('"whole"', '"hole"'))
    sound, other = web.get("/api/models")
    assert (sound["name"], sound["task"], sound["problems"]) == (MODEL, "segmentation", [])
    assert sound["digest"] == web.bench.parts.registry.get(MODEL).digest
    assert (other["name"], other["digest"]) == ("broken", "")
    assert any("hole" in line for line in other["problems"])


# Errors


def test_errors_are_problems(web: Web):
    for method, path, status, detail in (
        ("GET", "/api/studies/1.2.3", 404, "study 1.2.3 is not here"),
        ("GET", "/api/workitems/none", 404, "there is no workitem none"),
        ("POST", "/api/studies/1.2.3/reanalyse", 404, "study 1.2.3 is not here"),
        ("POST", "/api/workitems/none/cancel", 404, "there is no workitem none"),
        ("POST", "/api/workitems/none/retry", 404, "there is no workitem none"),
        ("GET", "/api/nothing", 404, "Not Found"),
        ("DELETE", "/api/studies", 405, "Method Not Allowed"),
        ("GET", "/api/studies?limit=0", 422, "query.limit"),
        ("GET", "/api/studies?date_from=yesterday", 422, "query.date_from"),
        ("GET", "/api/studies?limit=x&offset=-1", 422, "query.offset"),
        ("GET", "/api/workitems?state=DONE", 422, "query.state"),
    ):
        assert detail in problem(web.ask(method, path), status)


def test_a_study_that_is_arriving_is_a_conflict(web: Web):
    study = web.bench.receive(ct())
    assert "still arriving" in problem(web.ask("POST", f"/api/studies/{study}/reanalyse"), 409)


def test_an_unexpected_error_says_nothing_of_its_inside(web: Web):
    with web.bench.index.engine.begin() as db:
        db.execute(text("DROP TABLE findings"))
    detail = problem(web.ask("GET", f"/api/studies/{study_of(web.bench)}"), 500)
    assert detail == "unexpected OperationalError; see the log"


# Health and the description


def test_health_and_figures(web: Web):
    assert web.get("/healthz") == {"status": "ok"}
    answer = web.ask("GET", "/readyz")
    assert answer.status_code == 503
    assert answer.json()["database"] == "ok"
    assert answer.json()["worker"] == "no worker runs"
    figures = web.ask("GET", "/metrics")
    assert figures.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "wetread_studies 1.0" in figures.text


def test_every_answer_is_described_with_examples(web: Web):
    """Each property has an example, a default or a fixed set of values, or is a record itself."""
    description = web.get("/openapi.json")
    schemas = description["components"]["schemas"]
    told = {"examples", "default", "enum", "const", "$ref"}
    unclear = [
        f"{name}.{key}"
        for name, schema in schemas.items()
        if name not in {"HTTPValidationError", "ValidationError"}
        for key, prop in schema.get("properties", {}).items()
        if not told & {*prop, *prop.get("items", {}), *prop.get("anyOf", [{}])[0]}
        if prop.get("type") != "boolean"
    ]
    assert not unclear


def test_every_operation_is_described(web: Web):
    description = web.get("/openapi.json")
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], (method, path)
            assert operation["tags"], (method, path)
            if "{" in path:
                assert "application/problem+json" in json.dumps(operation["responses"]["404"])
            if method == "post":
                assert "409" in operation["responses"]
    assert web.ask("GET", "/docs").status_code == 200
