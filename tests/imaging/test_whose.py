from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from imaging.conformance import problems
from imaging.findings import Report
from imaging.objects import encoded
from imaging.seg import segmentation
from imaging.sr import measurement_report
from imaging.text import declared
from imaging.whose import (
    Whose,
    corrected,
    corrected_uid,
    differing,
    followed,
    is_other_patient,
    whose,
)
from tests.builders import ct_series, report_on

OURS = Whose(
    patient_id="P1",
    issuer="HOSPITAL",
    name="Doe^Jane",
    birth_date="19700101",
    sex="F",
    accession_number="A1",
)


@pytest.mark.parametrize(
    "theirs",
    [
        Whose(),
        OURS,
        Whose(patient_id="P1"),
        Whose(name="DOE^JANE^^^"),
        Whose(name="Doe ^ Jane=Дое^Джейн"),
        Whose(name="=Дое^Джейн"),
        Whose(accession_number="A1 "),
        Whose(name="???^??"),
        Whose(name="^"),
    ],
)
def test_what_a_pacs_leaves_out_or_writes_otherwise_is_no_difference(theirs: Whose):
    assert differing(OURS, theirs) == ()


@pytest.mark.parametrize(
    ("theirs", "named", "other"),
    [
        (Whose(patient_id="P2", name="Doe^Jane"), ("patient ID",), True),
        (Whose(issuer="CLINIC"), ("issuer of the patient ID",), True),
        (Whose(name="Roe^Jane"), ("patient name",), False),
        (Whose(name="Doe^Jane^Ann"), ("patient name",), False),
        (Whose(sex="M", birth_date="19710101"), ("birth date", "sex"), False),
        (Whose(accession_number="A2"), ("accession number",), False),
    ],
)
def test_differences_are_named_without_their_values(theirs, named, other):
    assert differing(OURS, theirs) == named
    assert is_other_patient(OURS, theirs) is other


def test_nothing_of_a_former_patient_is_kept():
    assert followed(OURS, Whose(patient_id="P2", name="Roe^Max")) == Whose(
        patient_id="P2", name="Roe^Max", accession_number="A1"
    )
    assert followed(OURS, Whose(patient_id="P2", accession_number="A2")).accession_number == "A2"


def test_a_correction_changes_only_what_the_pacs_says():
    assert followed(OURS, Whose(name="Roe^Jane", sex="F")) == Whose(
        **{**{n: getattr(OURS, n) for n in OURS.__dataclass_fields__}, "name": "Roe^Jane"}
    )


@pytest.fixture(scope="module")
def made() -> tuple[Dataset, Dataset]:
    """A SEG and the SR that refers to it, as they are stored."""
    images = ct_series((3, 8, 8), PatientID="P1", PatientName="Doe^Jane", PatientAge="050Y")
    mask = np.zeros((3, 8, 8), dtype=bool)
    mask[1, 2:6, 2:6] = True
    report: Report = report_on(images, [mask])
    seg = segmentation(report, images[0], wetread_version="0.1.0")
    assert seg is not None
    sr = measurement_report(report, images[0], segmentation=seg, wetread_version="0.1.0")
    read_seg, read_sr = (dcmread(BytesIO(encoded(ds))) for ds in (seg, sr))
    return read_seg, read_sr


def uids_for(made: tuple[Dataset, Dataset], to: Whose) -> dict[str, str]:
    together = tuple(str(ds.SOPInstanceUID) for ds in made)
    olds = [str(uid) for ds in made for uid in (ds.SOPInstanceUID, ds.SeriesInstanceUID)]
    return {old: corrected_uid(old, to, together) for old in olds}


@pytest.mark.parametrize("name", ["Roe^Max", "Roe^Max=王^小东=", "Müller^Jörg"])
def test_a_corrected_result_is_a_valid_object_of_the_right_patient(made, name):
    to = Whose(patient_id="P2", name=name, birth_date="19800101", sex="M", accession_number="A2")
    uids = uids_for(made, to)
    for ds in made:
        data = encoded(corrected(ds, to, uids))
        assert problems(data) == ()
        read = dcmread(BytesIO(data))
        assert whose(read) == Whose(**{**{n: getattr(to, n) for n in to.__dataclass_fields__},
                                       "name": name.rstrip("=")})  # fmt: skip
        assert "PatientAge" not in read
        assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID
        assert read.SOPInstanceUID == uids[str(ds.SOPInstanceUID)]
        assert b"P1" not in data
        assert b"Jane" not in data
        if not name.isascii():
            assert declared(read) == ("ISO_IR 192",)


def test_references_follow_and_nothing_else_changes(made):
    to = followed(whose(made[0]), Whose(accession_number="A2"))
    uids = uids_for(made, to)
    seg, sr = (corrected(ds, to, uids) for ds in made)
    text = str(sr)
    assert str(made[0].SOPInstanceUID) not in text
    assert seg.SOPInstanceUID in text
    assert seg.PixelData == made[0].PixelData
    assert sr.StudyInstanceUID == made[1].StudyInstanceUID
    assert whose(sr).patient_id == "P1"
    assert sr.PatientAge == "050Y"


def test_the_same_correction_gives_the_same_bytes_and_another_gives_other_uids(made):
    first, second = Whose(patient_id="P2"), Whose(patient_id="P3")
    one = [encoded(corrected(ds, first, uids_for(made, first))) for ds in made]
    again = [encoded(corrected(ds, first, uids_for(made, first))) for ds in made]
    assert one == again
    assert set(uids_for(made, first).values()).isdisjoint(uids_for(made, second).values())
    assert whose(made[0]).patient_id == "P1"
