"""Whose a study is may change in the PACS between receipt and delivery."""

import json
import os
import signal
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from pydicom import Dataset, dcmread, dcmwrite

from dicom_node.delivery import send
from dicom_node.peers import Peer
from dicom_node.records import Completion
from dicom_node.web_peers import WebPeer
from imaging.conformance import problems
from imaging.errors import Conflict, OtherPatient
from imaging.whose import whose
from tests.dicom_node.rig import OURS, free_port, listens, store, wait_for
from tests.serving.bench import Bench, mr, peer
from tests.serving.test_courier import RETRIES, answering

# pynetdicom leaves a socket that could not connect to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Pacs:
    """A real PACS in which studies are corrected as people do."""

    def __init__(self, peer: Peer, http_port: int) -> None:
        self.peer, self._port = replace(peer, deliver=True), http_port
        wait_for(lambda: listens(http_port), seconds=20)

    def ask(self, path: str, body: Any = None) -> Any:
        return json.loads(self._bytes(path, None if body is None else json.dumps(body).encode()))

    def correct(self, study_uid: str, *, keep: bool = False, **changes: str) -> None:
        """Change attributes of a study under the same UIDs; `keep`: the former stays there too."""
        found = self.ask(f"/studies/{self._id(study_uid)}/instances")
        files = [self._bytes(f"/instances/{each['ID']}/file") for each in found]
        if not keep:
            self.forget(study_uid)
        for file in files:
            ds = dcmread(BytesIO(file))
            for keyword, value in changes.items():
                setattr(ds, keyword, value)
            if keep:
                ds.SOPInstanceUID = f"{ds.SOPInstanceUID}.1"
                ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            changed = BytesIO()
            dcmwrite(changed, ds, enforce_file_format=True)
            self._bytes("/instances", changed.getvalue())

    def forget(self, study_uid: str) -> None:
        url = f"http://127.0.0.1:{self._port}/studies/{self._id(study_uid)}"
        urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=60).close()

    def _bytes(self, path: str, data: bytes | None = None) -> bytes:
        url = f"http://127.0.0.1:{self._port}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as answer:
            return answer.read()

    def instances(self, study_uid: str) -> dict[str, dict[str, Any]]:
        """Return the tags of every instance by SOP Instance UID."""
        found = self.ask(f"/studies/{self._id(study_uid)}/instances?simplify")
        tags = [self.ask(f"/instances/{each['ID']}/simplified-tags") for each in found]
        return {each["SOPInstanceUID"]: each for each in tags}

    def _id(self, study_uid: str) -> str:
        query = {"Level": "Study", "Query": {"StudyInstanceUID": study_uid}}
        return str(self.ask("/tools/find", query)[0])


@pytest.fixture
def pacs(orthanc: Peer, orthanc_http: int) -> Pacs:
    return Pacs(orthanc, orthanc_http)


@pytest.fixture
def site(analysed: Callable[..., Bench], pacs: Pacs, tmp_path) -> tuple[Bench, Pacs, str]:
    """An installation whose results wait, and the PACS with the images."""
    bench = analysed(peers=(pacs.peer,), delivery=RETRIES)
    (study,) = bench.index.studies().studies
    images = [bench.parts.archive.file(i.path) for i in received(bench, study.study_uid)]
    assert send(pacs.peer, images, ae_title=OURS).text == ""
    return bench, pacs, study.study_uid


def received(bench: Bench, study_uid: str):
    return [i for i in bench.index.instances_of(study_uid) if i.origin == "received"]


def planned(bench: Bench) -> list[str]:
    """Return the results as the workflow knows them."""
    return sorted(d.root_uid or d.instance_uid for d in bench.journal.deliveries())


def current(bench: Bench, study_uid: str) -> dict[str, Dataset]:
    return {kind: bench.dataset(result) for kind, result in bench.results(study_uid).items()}


def states(bench: Bench) -> set[tuple[str, str]]:
    return {(d.state, d.identity) for d in bench.journal.deliveries()}


def test_results_of_an_unchanged_study_go_as_they_are(site):
    bench, pacs, study_uid = site
    results = planned(bench)
    assert bench.courier().attempt("pacs", results, 0) is None
    assert states(bench) == {("proven", "as the PACS has it")}
    assert set(results) <= set(pacs.instances(study_uid))


def test_results_follow_a_study_to_another_patient(site):
    bench, pacs, study_uid = site
    results = planned(bench)
    pacs.correct(
        study_uid, PatientID="P2", PatientName="Roe^Max", PatientSex="M", AccessionNumber="A9"
    )
    assert bench.courier().attempt("pacs", results, 0) is None

    found = current(bench, study_uid)
    assert set(found) == {"SEG", "SR", "KEY_IMAGE"}
    assert {whose(ds).patient_id for ds in found.values()} == {"P2"}
    assert {whose(ds).name for ds in found.values()} == {"Roe^Max"}
    assert {whose(ds).accession_number for ds in found.values()} == {"A9"}
    assert not {str(ds.SOPInstanceUID) for ds in found.values()} & set(results)
    assert str(found["SEG"].SOPInstanceUID) in str(found["SR"])
    in_pacs = pacs.instances(study_uid)
    assert {in_pacs[ds.SOPInstanceUID]["PatientID"] for ds in found.values()} == {"P2"}
    assert not set(results) & set(in_pacs)
    for result in bench.results(study_uid).values():
        stored = bench.index.instance(result.instance_uid)
        assert problems(bench.parts.archive.read(stored.path)) == ()

    # Every row tells; the study is that patient's from now on, and nothing is sent twice.
    assert states(bench) == {("proven", "corrected by the PACS"), ("superseded", "")}
    assert bench.index.study(study_uid).patient_id == "P2"
    assert bench.courier().attempt("pacs", results, 1) is None
    assert len(pacs.instances(study_uid)) == len(in_pacs)


def test_a_corrected_name_in_another_script_is_followed(site):
    bench, pacs, study_uid = site
    pacs.correct(study_uid, PatientName="王^小东", SpecificCharacterSet="ISO_IR 192")
    assert bench.courier().attempt("pacs", planned(bench), 0) is None
    assert {whose(ds).name for ds in current(bench, study_uid).values()} == {"王^小东"}
    assert {d.state for d in bench.journal.deliveries()} == {"proven", "superseded"}


def test_a_second_correction_before_delivery_is_followed_too(site):
    bench, pacs, study_uid = site
    away = replace(pacs.peer, name="late", port=free_port(), query=False, deliver=True)
    bench.restarted(peers=(pacs.peer, away))
    results = planned(bench)
    for result in bench.journal.results():
        bench.journal.plan_delivery(result, "late")
    pacs.correct(study_uid, PatientID="P2")
    assert bench.courier().attempt("late", results, 0) is not None
    pacs.correct(study_uid, PatientID="P3")
    assert bench.courier().attempt("late", results, 1) is not None
    waiting = bench.journal.deliveries(state="waiting")
    late = [d for d in waiting if d.destination == "late"]
    assert {d.root_uid for d in late} == set(results)
    datasets = [bench.dataset(bench.journal.result(d.instance_uid)) for d in late]
    assert {whose(ds).patient_id for ds in datasets} == {"P3"}


def test_results_are_held_where_a_person_is_to_decide(site):
    bench, pacs, study_uid = site
    bench.restarted(delivery={**RETRIES, "identity": "hold"})
    results = planned(bench)
    pacs.correct(study_uid, PatientID="P2", PatientName="Roe^Max")
    assert bench.courier().attempt("pacs", results, 0) == 0.5
    (said,) = {(d.state, d.last_error) for d in bench.journal.deliveries()}
    assert said[0] == "held"
    assert said[1] == (
        "the PACS has another patient ID or patient name for this study (IDENTITY_DIFFERS)"
    )
    assert not set(results) & set(pacs.instances(study_uid))

    released = bench.parts.operations.deliver_again(study_uid=study_uid)
    assert sorted(d.instance_uid for d in released) == results
    bench.courier().start_over("pacs", results)
    assert bench.courier().attempt("pacs", results, 1) is None
    assert {d.identity for d in bench.journal.deliveries()} == {"released by a person"}
    assert {d.state for d in bench.journal.deliveries()} == {"proven"}


def test_a_study_that_is_gone_from_the_pacs_gets_no_results(site):
    bench, pacs, study_uid = site
    close(bench, study_uid, "confirmed")
    pacs.forget(study_uid)
    results = planned(bench)
    assert bench.courier().attempt("pacs", results, 0) == 0.5
    assert {(d.state, d.last_error) for d in bench.journal.deliveries()} == {
        ("held", "the PACS no longer lists the study (STUDY_GONE)")
    }
    images = [bench.parts.archive.file(i.path) for i in received(bench, study_uid)]
    send(pacs.peer, images, ae_title=OURS)
    assert bench.courier().attempt("pacs", results, 1) is None
    assert states(bench) == {("proven", "as the PACS has it")}


def test_a_study_that_no_pacs_knew_is_delivered_as_before(site):
    bench, pacs, study_uid = site
    pacs.forget(study_uid)
    assert bench.courier().attempt("pacs", planned(bench), 0) is None
    assert states(bench) == {("proven", "not checked: no PACS lists the study")}


def close(bench: Bench, study_uid: str, completeness: Any) -> None:
    study = bench.index.study(study_uid)
    assert bench.index.mark_complete(
        Completion(
            study_uid=study_uid,
            received=study.received,
            completeness=completeness,
            text="",
            content_digest=bench.index.content_digest(study_uid),
            at=1.0,
        )
    )


def test_a_study_under_two_patients_is_held(site):
    bench, pacs, study_uid = site
    pacs.correct(study_uid, keep=True, PatientID="P2")
    assert bench.courier().attempt("pacs", planned(bench), 0) == 0.5
    (said,) = {(d.state, d.last_error) for d in bench.journal.deliveries()}
    assert said == (
        "held",
        "the PACS lists the study 2 times, under several patients (STUDY_AMBIGUOUS)",
    )


def test_a_destination_that_cannot_be_asked_follows_the_pacs_that_can(site, orthanc_web: WebPeer):
    bench, pacs, study_uid = site
    asked = replace(pacs.peer, deliver=False)
    bench.restarted(peers=(asked,), web_peers=(replace(orthanc_web, query=False, name="blind"),))
    for result in bench.journal.results():
        bench.journal.plan_delivery(result, "blind")
    pacs.correct(study_uid, PatientID="P2")
    assert bench.courier().attempt("blind", planned(bench), 0) is None
    found = current(bench, study_uid)
    assert {whose(ds).patient_id for ds in found.values()} == {"P2"}


def test_a_dicomweb_service_is_asked_by_qido(site, orthanc_web: WebPeer):
    bench, pacs, study_uid = site
    bench.restarted(peers=(), web_peers=(orthanc_web,))
    for result in bench.journal.results():
        bench.journal.plan_delivery(result, "web")
    pacs.correct(study_uid, PatientID="P2", PatientName="Müller^Jörg=王^小东")
    assert bench.courier().attempt("web", planned(bench), 0) is None
    assert {whose(ds).patient_id for ds in current(bench, study_uid).values()} == {"P2"}


def test_a_pacs_that_hangs_holds_up_no_other_destination(
    site, orthanc_process: tuple[Peer, int], tmp_path
):
    bench, pacs, _ = site
    with answering(lambda _: 0) as port:
        blind = peer("blind", port=port)
        limits = {**RETRIES, "connect_s": 0.5, "reply_s": 30.0}
        bench.restarted(peers=(pacs.peer, blind), delivery=limits)
        for result in bench.journal.results():
            bench.journal.plan_delivery(result, "blind")
        os.kill(orthanc_process[1], signal.SIGSTOP)
        try:
            courier = bench.courier()
            assert courier.attempt("blind", planned(bench), 0) is None
        finally:
            os.kill(orthanc_process[1], signal.SIGCONT)
    blind_items = [d for d in bench.journal.deliveries() if d.destination == "blind"]
    assert {(d.state, d.identity) for d in blind_items} == {
        ("delivered", "not checked: no PACS answered")
    }


@pytest.mark.parametrize("resent", [False, True])
def test_results_are_held_while_images_say_another_patient_and_nobody_can_be_asked(
    analysed, resent: bool
):
    with answering(lambda _: 0) as port:
        bench: Bench = analysed(peers=(peer(port=port),), delivery=RETRIES)
        results = planned(bench)
        images = mr(PatientID="P2", PatientName="Roe^Max")
        if not resent:
            images[0].SOPInstanceUID = "2.25.99"
        with pytest.raises(Conflict if resent else OtherPatient):
            store(bench.parts.ingest, images[0])
        assert bench.courier().attempt("pacs", results, 0) == 0.5
        assert {d.state for d in bench.journal.deliveries()} == {"held"}
        assert "IDENTITY_CONTESTED" in bench.journal.deliveries()[0].last_error
        bench.courier().start_over("pacs", results)
        assert bench.courier().attempt("pacs", results, 1) is None
        assert states(bench) == {("delivered", "released by a person")}


def test_images_of_the_corrected_patient_are_taken_in_afterwards(site):
    bench, pacs, study_uid = site
    late = mr(PatientID="P2", PatientName="Roe^Max")[0]
    late.SOPInstanceUID = "2.25.98"
    with pytest.raises(OtherPatient):
        store(bench.parts.ingest, late)
    pacs.correct(study_uid, PatientID="P2", PatientName="Roe^Max")
    assert bench.courier().attempt("pacs", planned(bench), 0) is None
    assert store(bench.parts.ingest, late).wakes_study
