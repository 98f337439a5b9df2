from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread

from imaging.assessment import Assessment, Judgement, assessment_document
from imaging.codes import BRAIN, MILLILITRE, VOLUME, Code
from imaging.conformance import problems
from imaging.findings import Measurement, ObjectRef
from imaging.objects import encoded
from imaging.verdict import RejectReason, Verdict
from tests.builders import mr_series

AT = datetime(2024, 2, 1, 9, 30, tzinfo=UTC)


def ref(number: int, source: Dataset) -> ObjectRef:
    return ObjectRef(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        instance_uid=f"1.2.3.{number}",
        series_uid=f"1.2.4.{number}",
        study_uid=source.StudyInstanceUID,
    )


def judgement(source: Dataset, **fields: object) -> Judgement:
    return replace(
        Judgement(
            assessed=ref(1, source),
            tracking_id="m/Brain",
            tracking_uid="1.2.9",
            concept=BRAIN,
            verdict=Verdict.ACCEPTED,
            reader="local",
            at=AT,
        ),
        **fields,
    )


def document(source: Dataset, *judgements: Judgement, **fields: object) -> bytes:
    wanted = Assessment(judgements=judgements, result_key="k", created=AT, **fields)
    return encoded(assessment_document(wanted, source, wetread_version="0.1.0"))


def items(ds: Dataset) -> dict[str, Dataset]:
    return {i.ConceptNameCodeSequence[0].CodeMeaning: i for i in ds.ContentSequence}


@pytest.mark.parametrize("comment", ["", "plain", "不是胶质瘤\n第二行"])
def test_conforms_in_every_verdict(comment):
    source = mr_series((2, 8, 8))[0]
    volume = Measurement(name=VOLUME, value=123.456789, unit=MILLILITRE)
    data = document(
        source,
        judgement(source, comment=comment),
        judgement(source, verdict=Verdict.REJECTED, reason=RejectReason.NOT_PRESENT),
        judgement(source, verdict=Verdict.CORRECTED, measured=(volume,), assessed=ref(2, source)),
        judgement(source, verdict=Verdict.WITHDRAWN, reader="Doe^Jane"),
        predecessors=(ref(7, source),),
    )
    assert problems(data) == ()
    ds = dcmread(BytesIO(data))
    assert ds.StudyInstanceUID == source.StudyInstanceUID
    assert ds.PatientID == source.PatientID
    evidence = ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert {str(series.SeriesInstanceUID) for series in evidence} == {"1.2.4.1", "1.2.4.2"}
    before = ds.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert before.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.7"


def test_a_correction_says_what_it_is_about_and_what_is_right():
    source = mr_series((2, 8, 8))[0]
    instead = Code("393564001", "SCT", "Glioma")
    volume = Measurement(name=VOLUME, value=123.456789, unit=MILLILITRE)
    data = document(
        source,
        judgement(
            source,
            verdict=Verdict.CORRECTED,
            instead=instead,
            measured=(volume,),
            comment="见第 5 层",
        ),
    )
    (finding,) = (
        item for item in dcmread(BytesIO(data)).ContentSequence if item.ValueType == "CONTAINER"
    )
    said = items(finding)
    assert said["Tracking Unique Identifier"].UID == "1.2.9"
    assert said["Assessed object"].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.1"
    assert said["Assessment"].ConceptCodeSequence[0].CodeValue == "CORRECTED"
    assert said["Corrected finding"].ConceptCodeSequence[0].CodeValue == "393564001"
    assert float(said["Volume"].MeasuredValueSequence[0].NumericValue) == 123.457
    assert said["Comment"].TextValue == "见第 5 层"
    assert str(said["Person Observer Name"].PersonName) == "local^"


def test_times_are_in_the_zone_of_the_source():
    source = mr_series((2, 8, 8), TimezoneOffsetFromUTC="+0800")[0]
    data = document(source, judgement(source))
    (finding,) = (
        item for item in dcmread(BytesIO(data)).ContentSequence if item.ValueType == "CONTAINER"
    )
    assert str(items(finding)["Time of assessment"].DateTime) == "20240201173000"


def test_the_same_again_is_the_same():
    source = mr_series((2, 8, 8))[0]
    assert document(source, judgement(source)) == document(source, judgement(source))
