"""Assessed cases become a data set without identities; all others are told with their reason."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread

from imaging.errors import SetupError
from imaging.identity import derived_uid
from imaging.verdict import RejectReason, Verdict
from scripts.build_dataset import _parser, build, dry_run
from scripts.check_identity import found_in
from scripts.dataset_faces import face_finder
from scripts.dataset_files import Case, load, verify
from scripts.dataset_selection import Wanted
from serving.assessments import AssessmentRequest
from serving.worker import build_recogniser
from tests.serving.bench import Bench, ball, mr
from tests.serving.test_api import close
from tests.serving.test_recognising import named

ACCEPTED = AssessmentRequest(verdict=Verdict.ACCEPTED)
NOT_THERE = AssessmentRequest(verdict=Verdict.REJECTED, reason=RejectReason.NOT_PRESENT)
POOR = AssessmentRequest(verdict=Verdict.REJECTED, reason=RejectReason.POOR_IMAGES)


def images(name: str, number: int = 1) -> list[Dataset]:
    made = mr(PatientID=f"ID-{name}-77", PatientName=f"{name}owski^Rosalind")
    for position, image in enumerate(made):
        image.StudyInstanceUID = derived_uid(name, str(number))
        image.SeriesInstanceUID = derived_uid(name, str(number), "series")
        image.FrameOfReferenceUID = derived_uid(name, str(number), "frame")
        uid = derived_uid(name, str(number), str(position))
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid
        image.SeriesDescription = f"T1 of {name}owski"
    return made


class Site(Bench):
    """An installation where readers assess."""

    def assessed(self, made: Sequence[Dataset], said: AssessmentRequest | None) -> str:
        study_uid = self.analysed(made)
        if said:
            findings = self.journal.current_findings(study_uid)
            self.parts.assessments.assess(findings, said, study_uid=study_uid, reader="rita")
        return study_uid


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    bench = Site(tmp_path_factory.mktemp("site"))
    bench.install()
    bench.assessed(images("Anton"), ACCEPTED)
    bench.assessed(images("Anton", 2), ACCEPTED)
    bench.assessed(images("Berta"), NOT_THERE)
    bench.assessed(images("Caesar"), POOR)
    bench.assessed(images("Dora"), None)
    return bench


def options(folder: Path, *more: str) -> list[str]:
    return ["-o", str(folder / "set"), "--key", str(folder / "secret" / "key"), *more]


def built(site: Site, folder: Path, *more: str, wanted: Wanted | None = None) -> tuple[Case, ...]:
    given = _parser().parse_args(options(folder, *more))
    return build(site.parts, wanted or Wanted(), given).cases


def array(folder: Path, path: str | None) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "set" / str(path))))


def test_accepted_and_rejected_cases_are_written_without_identities(site, tmp_path, capsys):
    cases = built(site, tmp_path)
    out = capsys.readouterr().out
    assert "1 left out: no reader assessed it" in out
    assert "1 left out: it was rejected for another reason" in out
    dataset = load(tmp_path / "set")
    assert dataset.cases == cases
    assert not list(verify(tmp_path / "set", dataset))
    assert sorted(case.provenance.verdict for case in cases) == ["accepted", "accepted", "rejected"]
    for case in cases:
        image, label = array(tmp_path, case.image), array(tmp_path, case.label)
        np.testing.assert_array_equal(image, ball())
        expected = 0 if case.provenance.verdict == "rejected" else (ball() > 0).sum()
        assert (label > 0).sum() == expected
        stored = dcmread(tmp_path / "set" / f"cases/{case.id}/dicom/0001.dcm")
        assert stored.PatientID == case.patient
    assert not list(found_in(site.settings.instances_folder, tmp_path / "set"))
    everything = b"".join(p.read_bytes() for p in (tmp_path / "set").rglob("*") if p.is_file())
    for secret in (b"owski", b"Rosalind", b"ID-Anton-77", b"rita"):
        assert secret not in everything


def test_what_a_reader_corrected_has_the_label_of_the_reader(tmp_path):
    site = Site(tmp_path)
    site.install()
    study_uid = site.assessed(images("Emil"), None)
    close(site, study_uid)
    ours = site.dataset(site.results(study_uid)["SEG"])
    size = ours.Rows * ours.Columns
    bits = np.unpackbits(np.frombuffer(ours.PixelData, np.uint8), bitorder="little")
    bits[(int(ours.NumberOfFrames) - 1) * size :] = 0
    ours.PixelData = np.packbits(bits, bitorder="little").tobytes()
    ours.Manufacturer, ours.ContentCreatorName = "Editor", "Reader^Rita"
    ours.ContentDate, ours.ContentTime = "20260101", "100000"
    site.receive([named(ours, "1.2.3.4.5")], sender="STOW-RS")
    build_recogniser(site.parts).look()
    (case,) = built(site, tmp_path)
    assert case.provenance.verdict == "corrected"
    label = array(tmp_path, case.label)
    accepted = ball() > 0
    assert 0 < (label > 0).sum() < accepted.sum()
    assert not label[~accepted].any()


def test_one_patient_is_one_pseudonym_in_one_split_in_every_version(site, tmp_path):
    first = built(site, tmp_path, "--test", "0.5")
    patients = {case.patient: case.split for case in first}
    assert len(first) == 3
    assert len(patients) == 2
    again = built(site, tmp_path, "--test", "1.0")  # other shares do not move who is known
    assert {case.patient: case.split for case in again} == patients
    ledger = tmp_path / "secret" / "key.splits"
    assert json.loads(ledger.read_text()) == patients
    assert ledger.stat().st_mode & 0o777 == 0o600


def test_the_same_again_writes_nothing_anew_and_has_the_same_version(site, tmp_path):
    built(site, tmp_path)
    images = list((tmp_path / "set").glob("cases/*/image.nii.gz"))
    times, version = [p.stat().st_mtime_ns for p in images], load(tmp_path / "set").version
    half = tmp_path / "set/cases/.half"
    half.mkdir()  # what a killed run left
    built(site, tmp_path)
    assert [p.stat().st_mtime_ns for p in images] == times
    assert load(tmp_path / "set").version == version
    assert not half.exists()


def test_who_opted_out_is_left_out_and_removed_from_the_folder(site, tmp_path, capsys):
    built(site, tmp_path)
    cases = built(site, tmp_path, wanted=Wanted(opted_out=frozenset({"ID-Anton-77"})))
    assert len(cases) == len(list((tmp_path / "set/cases").iterdir())) == 1
    assert "2 left out: the patient opted out" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(site, tmp_path, capsys):
    assert dry_run(site.parts, Wanted(verdicts=("accepted",))) == 0
    assert "2 cases would be taken" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_every_export_is_in_the_audit_trail(site, tmp_path):
    def exports() -> int:
        chain = site.parts.audit_chain
        return sum(str(tmp_path / "set") in record.message for record in chain.records())

    built(site, tmp_path)
    assert exports() == 3


@pytest.mark.parametrize("inside", ["set/key", "set/cases/key"])
def test_a_key_within_the_data_set_is_refused(site, tmp_path, inside):
    given = _parser().parse_args(["-o", str(tmp_path / "set"), "--key", str(tmp_path / inside)])
    with pytest.raises(Exception, match="key must not be"):
        build(site.parts, Wanted(), given)


def test_where_a_face_may_be_and_is_not_found_the_case_is_left_out(site, tmp_path, capsys):
    given = _parser().parse_args(options(tmp_path, "--remove-faces"))
    with face_finder() as faces, pytest.raises(SetupError, match="no case is left"):
        build(site.parts, Wanted(), given, faces=faces)
    said = capsys.readouterr().out
    assert "3 left out: its face cannot be taken out: the skull is not found" in said
