import json
from collections import defaultdict
from io import BytesIO
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from pydicom import dcmread

from serving.assessments import AssessmentRequest
from tests.serving.bench import Bench, mr, peer
from tests.serving.test_api import Web, close, study_of


@pytest.fixture
def web(analysed) -> Web:
    bench = analysed(peers=(peer(),))
    close(bench, study_of(bench))
    return Web(bench)


def resources(web: Web, study: str) -> dict[str, list[dict[str, Any]]]:
    """The bundle of a study by kind, checked against the definitions of FHIR R4."""
    answer = web.ask("GET", f"/api/studies/{study}/fhir")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/fhir+json"
    Bundle.model_validate_json(answer.text)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in json.loads(answer.text)["entry"]:
        found[entry["resource"]["resourceType"]].append(entry["resource"])
    return found


def judge(bench: Bench, study: str, **verdict: Any) -> None:
    wanted = AssessmentRequest.model_validate(verdict)
    findings = bench.journal.current_findings(study)
    bench.parts.assessments.assess(findings, wanted, study_uid=study, reader="local")


def test_findings_become_observations_of_a_report(web: Web):
    study = study_of(web.bench)
    found = resources(web, study)
    (report,), (observation,) = found["DiagnosticReport"], found["Observation"]
    (imaging,), (patient,) = found["ImagingStudy"], found["Patient"]
    row = web.bench.index.study(study)
    assert report["status"] == observation["status"] == "preliminary"
    assert report["result"][0]["reference"] == f"urn:uuid:{observation['id']}"
    (volume,) = observation["component"]
    measured = web.bench.journal.findings(study)[0].measurements[0]
    assert volume["valueQuantity"]["value"] == measured.value
    assert volume["valueQuantity"]["code"] == "ml"
    assert volume["code"]["coding"][0]["code"] == "118565006"
    assert imaging["identifier"][0]["value"] == f"urn:oid:{study}"
    assert [s["numberOfInstances"] for s in imaging["series"]] == [5]
    assert patient["identifier"][0]["value"] == row.patient_id


@pytest.mark.parametrize(
    ("verdict", "status", "report"),
    [
        ({"verdict": "accepted"}, "final", "final"),
        ({"verdict": "rejected", "reason": "NOT_PRESENT"}, *["entered-in-error"] * 2),
    ],
)
def test_what_a_reader_said_is_in_the_status(web: Web, verdict, status, report):
    study = study_of(web.bench)
    judge(web.bench, study, **verdict)
    found = resources(web, study)
    assert found["Observation"][0]["status"] == status
    assert found["DiagnosticReport"][0]["status"] == report
    told = "Tissue volume" in found["DiagnosticReport"][0]["conclusion"]
    assert told == (status == "final")


def test_a_verdict_on_what_was_replaced_makes_no_report_final(web: Web):
    study = study_of(web.bench)
    judge(web.bench, study, verdict="accepted")
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": "1.2.3.7"}
    web.bench.receive(mr((7, 16, 16), **uids))
    web.bench.run(web.bench.ticket(study))
    assert resources(web, study)["DiagnosticReport"][0]["status"] == "preliminary"


def test_a_corrected_value_takes_the_place_of_the_models(web: Web):
    study = study_of(web.bench)
    (finding,) = web.bench.journal.findings(study)
    measured = [{"name": "Volume", "value": 2.5}]
    judge(
        web.bench,
        study,
        verdict="corrected",
        tracking_uids=[finding.tracking_uid],
        measured=measured,
    )
    (observation,) = resources(web, study)["Observation"]
    assert observation["status"] == "corrected"
    assert observation["component"][0]["valueQuantity"]["value"] == 2.5


def test_odd_patients_and_studies_are_valid_too(web: Web):
    """No name, no dates, no description, no findings."""
    images = mr(
        (2, 8, 8),
        StudyInstanceUID="1.8",
        SeriesInstanceUID="1.8.1",
        PatientName="=张^三",
        PatientID="",
        PatientBirthDate="about 1950",
        PatientSex="X",
        StudyDate="",
        StudyDescription="",
        SeriesDescription="",
        SeriesNumber=None,
    )[:1]
    study = web.bench.receive(images)
    found = resources(web, study)
    assert found["Patient"][0]["name"] == [{"family": "张", "given": ["三"]}]
    assert "birthDate" not in found["Patient"][0]
    assert found["Observation"] == []


def test_result_objects_are_downloaded_as_they_are(web: Web):
    study = study_of(web.bench)
    for kind, result in web.bench.results(study).items():
        answer = web.ask("GET", f"/api/studies/{study}/results/{result.instance_uid}")
        assert answer.headers["content-type"] == "application/dicom", answer.text
        assert f"{kind.lower()}-" in answer.headers["content-disposition"]
        assert dcmread(BytesIO(answer.content)).SOPInstanceUID == result.instance_uid
    stored = web.bench.index.instances_of(study)
    image = next(i.instance_uid for i in stored if i.origin == "received")
    for path in (f"{study}/results/{image}", f"9.9/results/{result.instance_uid}", "9.9/fhir"):
        assert web.ask("GET", f"/api/studies/{path}").status_code == 404
