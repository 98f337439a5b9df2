"""Findings to a FHIR server: transactions that change nothing when they are repeated.

The server is another project's (`fhir_peer.py`); bundles are checked by the library of FHIR models.
"""

import base64
import json
import time
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fhir.resources.R4B.bundle import Bundle
from pydantic import ValidationError

from dicom_node.scu import Timeouts
from imaging.reasons import reason
from imaging.whose import Whose
from serving.assessments import AssessmentRequest
from serving.commands.check import _target
from serving.commands.status import status as print_status
from serving.notify import fhir
from serving.notify.target import Target
from serving.notify.told import Told
from serving.settings import Settings, load
from serving.worker import build_writer
from tests.serving.bench import Bench, mr
from tests.serving.fhir_peer import FhirServer, resources
from tests.serving.receivers import Web, serving, web

QUICK = {"first_retry_s": 2.0, "longest_retry_s": 60.0, "connect_s": 2.0, "reply_s": 30.0}
SYSTEM = "urn:oid:1.2.36.146.595.217.0.1"
TAKEN = json.dumps(
    {
        "resourceType": "Bundle",
        "type": "transaction-response",
        "entry": [{"response": {"status": "201"}}],
    }
).encode()


def target(url: str, **more: object) -> Target:
    known = {"name": "fhir", "kind": "fhir", "url": url, "patient_system": SYSTEM}
    return Target(**{**known, **more})


@pytest.fixture(scope="module")
def analysed_once(tmp_path_factory) -> Path:
    """The folder of an installation that has analysed one study and is to tell a server of it."""
    folder = tmp_path_factory.mktemp("analysed")
    bench = Bench(folder, notify=(target("http://127.0.0.1:1"),))
    bench.install()
    bench.analysed(mr(AccessionNumber="A1", PatientID="P1"))
    bench.parts.index.engine.dispose()
    return folder


@pytest.fixture
def told(analysed):
    """Return what makes an installation that is to tell one server of one study."""

    def made(url: str, **more: object) -> tuple[Bench, str]:
        bench = analysed(notify=(target(url, **more),), delivery=QUICK)
        return bench, newest(bench).study_uid

    return made


@pytest.fixture
def told_of(make):
    """Return the same for a study of its own, which is analysed here."""

    def made(url: str, **header: object) -> tuple[Bench, str]:
        bench = make(notify=(target(url),), delivery=QUICK)
        bench.install()
        return bench, bench.analysed(mr(**header))

    return made


def tell(bench: Bench) -> float:
    return bench.parts.teller.tell(bench.settings.notify[0])


def newest(bench: Bench):
    return bench.parts.messages.listed()[0]


def sent(bench: Bench) -> dict[str, list[dict[str, Any]]]:
    return resources(bench.parts.messages.body(newest(bench)))


def judge(bench: Bench, study: str, **verdict: Any) -> None:
    findings = bench.journal.current_findings(study)
    wanted = AssessmentRequest.model_validate(verdict)
    bench.parts.assessments.assess(findings, wanted, study_uid=study, reader="dr")
    build_writer(bench.parts).write(study)


def again(bench: Bench, study: str) -> None:
    """Analyse a study anew, with a series that came late."""
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": "1.2.3.7"}
    images = mr((7, 16, 16), PatientID="P1", **uids)
    bench.receive(images)
    bench.run(bench.ticket(study))


def test_a_server_has_report_findings_study_and_patient(told, fhir_server: FhirServer):
    bench, study = told(fhir_server.url)
    assert tell(bench) == 0
    assert (newest(bench).state, newest(bench).answer) == ("delivered", "HTTP 200")
    (patient,), (imaging,) = fhir_server.kept("Patient"), fhir_server.kept("ImagingStudy")
    (observation,), (report,) = (
        fhir_server.kept("Observation"),
        fhir_server.kept("DiagnosticReport"),
    )
    row, (finding,) = bench.index.study(study), bench.journal.findings(study)
    assert patient["identifier"] == [{"system": SYSTEM, "value": row.patient_id}]
    assert imaging["identifier"][0]["value"] == f"urn:oid:{study}"
    assert observation["identifier"][0]["value"] == f"urn:oid:{finding.tracking_uid}"
    assert report["status"] == observation["status"] == "preliminary"
    assert report["subject"]["reference"] == f"Patient/{patient['id']}"
    assert report["imagingStudy"][0]["reference"] == f"ImagingStudy/{imaging['id']}"
    assert report["result"] == [{"reference": f"Observation/{observation['id']}"}]
    assert report["basedOn"][0]["identifier"]["value"] == "A1"
    (volume,) = observation["component"]
    assert volume["valueQuantity"]["value"] == finding.measurements[0].value


def test_what_is_sent_is_a_valid_transaction_without_ids_of_ours(told_of):
    bench, _ = told_of("http://127.0.0.1:1", PatientName="Zhang^San=张^三")
    tell(bench)
    body = bench.parts.messages.body(newest(bench))
    Bundle.model_validate_json(body)
    assert "张" in body.decode()
    assert not any("id" in resource for found in resources(body).values() for resource in found)
    requests = {e["resource"]["resourceType"]: e["request"] for e in json.loads(body)["entry"]}
    assert requests["Patient"]["method"] == requests["ImagingStudy"]["method"] == "POST"
    assert requests["Patient"]["ifNoneExist"].startswith("identifier=urn%3Aoid%3A1.2.36")
    assert requests["Observation"]["url"].startswith("Observation?identifier=urn%3Adicom%3Auid%7C")
    assert requests["DiagnosticReport"]["method"] == "PUT"


def test_a_transaction_may_come_any_number_of_times(told, fhir_server: FhirServer):
    bench, _ = told(fhir_server.url)
    tell(bench)
    for _ in range(3):
        assert fhir_server.post(bench.parts.messages.body(newest(bench))).is_success
        once = dict.fromkeys(("Patient", "ImagingStudy", "Observation", "DiagnosticReport"), 1)
        assert fhir_server.counts() == once


def test_a_patient_and_a_study_that_are_there_are_used_as_they_are(told, fhir_server: FhirServer):
    identifier = [{"system": SYSTEM, "value": "P1"}, {"system": "urn:oid:9", "value": "9"}]
    known = {"resourceType": "Patient", "identifier": identifier, "birthDate": "1950-01-01"}
    there = fhir_server.put(known)
    fhir_server.put({"resourceType": "Patient", "identifier": [{"system": "urn:x", "value": "P1"}]})
    bench, _ = told(fhir_server.url)
    tell(bench)
    (report,) = fhir_server.kept("DiagnosticReport")
    assert report["subject"]["reference"] == f"Patient/{there['id']}"
    (kept,) = fhir_server.kept("Patient", f"{SYSTEM}|P1")
    assert (kept["birthDate"], kept["identifier"]) == ("1950-01-01", identifier)


def test_two_patients_of_one_number_are_refused(told, fhir_server: FhirServer):
    known = {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": "P1"}]}
    for _ in range(2):
        fhir_server.put(known)
    bench, _ = told(fhir_server.url)
    tell(bench)
    assert newest(bench).state == "refused"
    assert newest(bench).words
    assert not fhir_server.kept("DiagnosticReport")


@pytest.mark.parametrize(
    ("verdicts", "observation", "report"),
    [
        ([{"verdict": "accepted"}], "final", "final"),
        ([{"verdict": "rejected", "reason": "NOT_PRESENT"}], *["entered-in-error"] * 2),
        ([{"verdict": "accepted"}, {"verdict": "accepted", "comment": "yes"}], "final", "amended"),
    ],
)
def test_what_readers_say_is_in_the_status(
    told, fhir_server: FhirServer, verdicts, observation, report
):
    bench, study = told(fhir_server.url)
    tell(bench)
    for verdict in verdicts:
        judge(bench, study, **verdict)
        tell(bench)
    assert [r["status"] for r in fhir_server.kept("Observation")] == [observation]
    assert [r["status"] for r in fhir_server.kept("DiagnosticReport")] == [report]


def test_a_correction_after_the_final_report_says_so(told, fhir_server: FhirServer):
    bench, study = told(fhir_server.url)
    judge(bench, study, verdict="accepted")
    tell(bench)
    (finding,) = bench.journal.findings(study)
    measured = [{"name": "Volume", "value": 2.5}]
    uids = [finding.tracking_uid]
    judge(bench, study, verdict="corrected", tracking_uids=uids, measured=measured)
    tell(bench)
    (observation,), (report,) = (
        fhir_server.kept("Observation"),
        fhir_server.kept("DiagnosticReport"),
    )
    assert observation["status"] == report["status"] == "corrected"
    assert observation["component"][0]["valueQuantity"]["value"] == 2.5


def test_what_a_later_analysis_replaced_is_withdrawn(told, fhir_server: FhirServer):
    bench, study = told(fhir_server.url)
    (old,) = bench.journal.findings(study)
    tell(bench)
    again(bench, study)
    (new,) = bench.journal.current_findings(study)
    assert new.tracking_uid != old.tracking_uid
    tell(bench)
    statuses = {r["identifier"][0]["value"]: r["status"] for r in fhir_server.kept("Observation")}
    assert statuses == {
        f"urn:oid:{old.tracking_uid}": "entered-in-error",
        f"urn:oid:{new.tracking_uid}": "preliminary",
    }
    (report,) = fhir_server.kept("DiagnosticReport")
    (standing,) = fhir_server.kept("Observation", f"urn:dicom:uid|urn:oid:{new.tracking_uid}")
    assert report["result"] == [{"reference": f"Observation/{standing['id']}"}]


def test_what_is_withdrawn_stays_so_though_a_message_between_was_lost(told):
    bench, study = told("http://127.0.0.1:1")
    tell(bench)
    judge(bench, study, verdict="accepted")
    tell(bench)
    again(bench, study)
    tell(bench)
    assert [o["status"] for o in sent(bench)["Observation"]] == ["preliminary", "entered-in-error"]
    assert [r["status"] for r in sent(bench)["DiagnosticReport"]] == ["preliminary"]


def test_a_target_may_have_been_of_another_kind(told, fhir_server: FhirServer):
    bench, study = told(fhir_server.url)
    for body in (b"MSH|^~\\&|", b'{"type": "study.completed"}'):
        bench.parts.messages.keep(newest(bench), body)
        judge(bench, study, verdict="accepted")
    tell(bench)
    assert [r["status"] for r in fhir_server.kept("DiagnosticReport")] == ["final"]


def test_an_analysis_that_failed_leaves_what_was_found_before(told, fhir_server: FhirServer):
    bench, study = told(fhir_server.url)
    item = bench.ticket(study, workitem_uid="given up")["workitem_uid"]
    bench.journal.fail(item, reason("POISON", tries=3))
    tell(bench)
    (report,) = fhir_server.kept("DiagnosticReport")
    assert (report["status"], len(report["result"])) == ("preliminary", 1)
    assert reason("POISON", tries=3).text in report["conclusion"]


def test_an_analysis_that_found_nothing_is_a_canceled_report(make, fhir_server: FhirServer):
    bench = make(notify=(target(fhir_server.url),), delivery=QUICK)  # no model is installed
    study = bench.analysed(mr())
    tell(bench)
    (report,) = fhir_server.kept("DiagnosticReport")
    assert report["status"] == "cancelled"
    assert bench.workitem(study).reason_text in report["conclusion"]


def test_a_study_without_patient_id_is_refused_before_it_is_sent(told_of, fhir_server: FhirServer):
    bench, _ = told_of(fhir_server.url, PatientID="")
    tell(bench)
    assert (newest(bench).state, newest(bench).words) == ("refused", "the study has no patient ID")
    assert fhir_server.counts()["Patient"] == 0


@pytest.mark.parametrize(
    ("header", "system"),
    [
        ({"IssuerOfPatientID": "B"}, "urn:oid:2"),
        ({}, SYSTEM),
        ({"IssuerOfPatientID": "C"}, None),
    ],
)
def test_the_issuer_in_the_images_decides_whose_number_it_is(make, header, system):
    both = target("http://127.0.0.1:1", issuers={"B": "urn:oid:2"})
    bench = make(notify=(both,), delivery=QUICK)
    bench.analysed(mr(**header))
    tell(bench)
    if system is None:
        assert newest(bench).state == "refused"
        assert "issuer" in newest(bench).words
    else:
        assert sent(bench)["Patient"][0]["identifier"][0]["system"] == system


def test_of_a_corrected_patient_the_images_do_not_say_the_issuer(told):
    bench, study = told("http://127.0.0.1:1", issuers={"B": "urn:oid:2"})
    bench.index.correct(study, Whose(patient_id="P2"))
    tell(bench)
    assert newest(bench).state == "refused"
    bench.restarted(notify=(target("http://127.0.0.1:1"),))
    bench.parts.messages.start_over()
    tell(bench)
    assert sent(bench)["Patient"][0]["identifier"] == [{"system": SYSTEM, "value": "P2"}]


def test_signs_of_a_search_in_a_patient_id_are_escaped(told_of):
    bench, _ = told_of("http://127.0.0.1:1", PatientID="A|1,2$&")
    tell(bench)
    body = json.loads(bench.parts.messages.body(newest(bench)))
    found = parse_qs(body["entry"][0]["request"]["ifNoneExist"])
    assert found == {"identifier": [f"{SYSTEM}|A\\|1\\,2\\$&"]}


def answered(url: str, **more: object) -> Told:
    """Return what comes of sending something to a target."""
    return fhir.send(target(url, **more), b"{}", timeouts=Timeouts(connect_s=5, reply_s=30))


OUTCOME = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "invalid", "diagnostics": "PATIENT NAME is odd"}],
}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (400, "refused"),
        (412, "refused"),
        (422, "refused"),
        (302, "waiting"),
        (401, "waiting"),
        (403, "waiting"),
        (404, "waiting"),
        (409, "waiting"),
        (429, "waiting"),
        (500, "waiting"),
        (503, "waiting"),
    ],
)
def test_the_status_decides(status, state):
    with web(status) as receiver:
        receiver.said = json.dumps(OUTCOME).encode()
        found = answered(receiver.url)
    assert (found.verdict, found.answer) == (state, f"HTTP {status}")
    assert found.words == "PATIENT NAME is odd"


def test_what_an_outcome_says_is_shown_but_not_logged(told, capsys):
    with web(422) as receiver:
        receiver.said = json.dumps(OUTCOME).encode()
        bench, _ = told(receiver.url)
        tell(bench)
    assert newest(bench).words == "PATIENT NAME is odd"
    logged = capsys.readouterr()
    assert "422" in logged.out + logged.err
    assert "PATIENT" not in logged.out + logged.err
    print_status(bench.settings)
    assert "PATIENT NAME is odd" in capsys.readouterr().out


def test_a_busy_server_says_when_to_come_again(told):
    with web(503, **{"Retry-After": "3000"}) as receiver:
        bench, _ = told(receiver.url)
        tell(bench)
    assert 2000 < newest(bench).next_attempt_at - time.time() <= 3000


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"<html>Sign in</html>",
        b"[]",
        b'{"resourceType": "Bundle", "type": "searchset"}',
        json.dumps(OUTCOME).encode(),
    ],
)
def test_a_portal_that_answers_200_to_anything_is_no_server(said):
    with web(200) as receiver:
        receiver.said = said
        found = answered(receiver.url)
    assert found.verdict == "waiting"
    assert "not that of a FHIR server" in found.words


def test_a_server_that_leaves_an_entry_out_refuses():
    failed = {"status": "422 Unprocessable", "outcome": OUTCOME}
    entries = [{"response": {"status": "201 Created"}}, {"response": failed}]
    with web(200) as receiver:
        receiver.said = json.dumps({**json.loads(TAKEN), "entry": entries}).encode()
        found = answered(receiver.url)
    assert (found.verdict, found.words) == ("refused", "PATIENT NAME is odd")


def test_a_given_token_is_shown(tmp_path: Path):
    file = tmp_path / "token"
    file.write_text("abc.def\n")
    with web(200) as receiver:
        receiver.said = TAKEN
        assert answered(receiver.url, secret_file=file).verdict == "delivered"
        file.write_text("renewed")
        answered(receiver.url, secret_file=file)
    shown = [headers["Authorization"] for headers, _ in receiver.got]
    assert shown == ["Bearer abc.def", "Bearer renewed"]


class Clinic(Web):
    """A FHIR server with a token endpoint, as `token` says."""

    def __init__(self, token: tuple[int, dict[str, Any]]) -> None:
        super().__init__(200, {})
        self._token = token

    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        status, said = self._token
        return (status, json.dumps(said).encode()) if path == "/token" else (200, TAKEN)


def fetching(url: str, **more: object) -> dict[str, object]:
    return {"token_url": f"{url}/token", "client_id": "wet:read", "scope": "system/*.cu", **more}


def test_a_token_is_fetched_with_a_client_secret():
    with serving(Clinic((200, {"access_token": "t1"}))) as clinic:
        found = answered(clinic.url, **fetching(clinic.url, secret="s ecret"))
    (asked, form), (headers, _) = clinic.got
    pair = base64.b64encode(b"wet%3Aread:s+ecret").decode()
    assert asked["Authorization"] == f"Basic {pair}"
    expected = {"grant_type": ["client_credentials"], "scope": ["system/*.cu"]}
    assert parse_qs(form.decode()) == expected
    assert headers["Authorization"] == "Bearer t1"
    assert found.verdict == "delivered"


@pytest.mark.parametrize(
    ("made", "algorithm"),
    [
        (partial(rsa.generate_private_key, public_exponent=65537, key_size=2048), "RS384"),
        (partial(ec.generate_private_key, ec.SECP384R1()), "ES384"),
    ],
)
def test_a_token_is_fetched_with_a_signed_assertion(tmp_path: Path, made, algorithm):
    key = made()
    plain = serialization.NoEncryption()
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file = tmp_path / "key.pem"
    file.write_bytes(key.private_bytes(encoding, form, plain))
    with serving(Clinic((200, {"access_token": "t1"}))) as clinic:
        found = answered(clinic.url, **fetching(clinic.url, key_file=file, key_id="k1"))
    (asked, body), (headers, _) = clinic.got
    assert "Authorization" not in asked
    sent = parse_qs(body.decode())
    (assertion,) = sent["client_assertion"]
    url = f"{clinic.url}/token"
    claims = jwt.decode(assertion, key.public_key(), algorithms=[algorithm], audience=url)
    assert claims["iss"] == claims["sub"] == "wet:read"
    assert 0 < claims["exp"] - time.time() <= 300
    assert jwt.get_unverified_header(assertion)["kid"] == "k1"
    assert headers["Authorization"] == "Bearer t1"
    assert found.verdict == "delivered"


@pytest.mark.parametrize(
    ("token", "answer", "words"),
    [
        ((401, {"error": "invalid_client"}), "token HTTP 401", "no token: invalid_client"),
        ((200, {"token": "t1"}), "token HTTP 200", "no token: the answer holds none"),
    ],
)
def test_without_a_token_nothing_is_sent_and_the_message_waits(token, answer, words):
    with serving(Clinic(token)) as clinic:
        found = answered(clinic.url, **fetching(clinic.url, secret="s"))
    assert len(clinic.got) == 1
    assert (found.verdict, found.answer, found.words) == ("waiting", answer, words)


def test_a_key_that_cannot_be_used_is_something_to_wait_for(told, tmp_path: Path):
    file = tmp_path / "key.pem"
    file.write_text("no key")
    with web(401) as clinic:
        bench, _ = told(clinic.url, **fetching(clinic.url, key_file=file))
        tell(bench)
        assert "the key of fhir cannot be used" in newest(bench).words
        assert not _target(bench.settings.notify[0]).problem
        gone = target(clinic.url, **fetching(clinic.url, key_file=tmp_path / "none"))
        assert "none" in _target(gone).problem
    assert newest(bench).state == "waiting"


@pytest.mark.parametrize(
    ("status", "said", "problem"),
    [
        (200, {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}, ""),
        (401, {}, ""),
        (200, {"resourceType": "CapabilityStatement", "fhirVersion": "3.0.2"}, "3.0.2, not R4"),
        (200, {"resourceType": "Patient"}, "metadata (HTTP 200) is not that of a FHIR server"),
        (404, [], "metadata (HTTP 404) is not that of a FHIR server"),
        (302, {}, "metadata (HTTP 302) is not that of a FHIR server"),
    ],
)
def test_check_asks_the_server_what_it_is(status, said, problem):
    with web(status) as receiver:
        receiver.said = json.dumps(said).encode()
        found = _target(target(f"{receiver.url}/r4/")).problem
    assert not receiver.got
    assert found.endswith(problem)
    assert bool(found) == bool(problem)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"patient_system": ""}, "needs patient_system"),
        ({"url": "http://fhir.example/r4"}, "in the clear"),
        ({"token_url": "http://fhir.example/token"}, "in the clear"),
        ({"token_url": "https://fhir.example/token"}, "needs client_id"),
        ({"token_url": "https://x.example/t", "client_id": "a"}, "a secret or key_file"),
        ({"client_id": "a"}, "need token_url"),
        ({"key_file": "key.pem"}, "need token_url"),
    ],
)
def test_a_server_that_cannot_be_told_is_explained(wrong, problem):
    entry = {"name": "fhir", "kind": "fhir", "url": "https://fhir.example/r4"}
    with pytest.raises(ValidationError, match=problem):
        Settings.model_validate({"notify": [{**entry, "patient_system": SYSTEM, **wrong}]})


def test_a_key_lies_beside_the_settings(tmp_path: Path):
    file = tmp_path / "wetread.toml"
    file.write_text(
        f'[[notify]]\nname = "fhir"\nkind = "fhir"\nurl = "https://fhir.example/r4"\n'
        f'patient_system = "{SYSTEM}"\ntoken_url = "https://fhir.example/token"\n'
        'client_id = "wetread"\nkey_file = "key.pem"\n'
    )
    (found,) = load(file, {}).notify
    assert found.key_file == tmp_path / "key.pem"
