from datetime import UTC, datetime
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread

from imaging.conformance import problems
from imaging.findings import ObjectRef
from imaging.objects import encoded
from imaging.rejection import Rejection, rejection_note
from tests.builders import ct_series

REFS = tuple(
    ObjectRef(
        sop_class_uid=f"1.2.840.10008.5.1.4.1.1.{kind}",
        instance_uid=f"2.25.{number}",
        series_uid=f"2.25.10{number}",
        study_uid="2.25.7",
    )
    for number, kind in enumerate(("66.4", "88.34", "7"), 1)
)


def made(refs: tuple[ObjectRef, ...] = REFS, **header: object) -> bytes:
    (source, *_) = ct_series((3, 8, 8), **header)
    note = Rejection(rejected=refs, heir_uid="2.25.99", created=datetime(2024, 2, 1, tzinfo=UTC))
    return encoded(rejection_note(note, source, wetread_version="0.1.0"))


def items(ds: Dataset) -> list[Dataset]:
    (study,) = ds.CurrentRequestedProcedureEvidenceSequence
    return [
        item for series in study.ReferencedSeriesSequence for item in series.ReferencedSOPSequence
    ]


@pytest.mark.parametrize("name", ["Doe^Jane", "王^小东"])
def test_a_note_is_a_valid_key_object_document_and_repeatable(name):
    data = made(PatientName=name, SpecificCharacterSet="ISO_IR 192")
    assert problems(data) == ()
    assert data == made(tuple(reversed(REFS)), PatientName=name, SpecificCharacterSet="ISO_IR 192")
    assert str(dcmread(BytesIO(data)).PatientName) == name


def test_it_says_why_and_names_what_is_rejected_twice_over():
    ds = dcmread(BytesIO(made()))
    assert (ds.SOPClassUID, ds.Modality) == ("1.2.840.10008.5.1.4.1.1.88.59", "KO")
    title = ds.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113037", "DCM")
    assert title.CodeMeaning == "Rejected for Patient Safety Reasons"
    assert ds.ContentTemplateSequence[0].TemplateIdentifier == "2010"
    assert [item.ReferencedSOPInstanceUID for item in items(ds)] == [r.instance_uid for r in REFS]
    listed = [
        child.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for child in ds.ContentSequence
        if child.ValueType in {"IMAGE", "COMPOSITE"}
    ]
    assert sorted(listed) == [r.instance_uid for r in REFS]


def test_other_results_are_another_note():
    first, second = (dcmread(BytesIO(made(refs))) for refs in (REFS, REFS[:2]))
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
