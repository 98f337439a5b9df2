import shutil
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from imaging import codes
from imaging.codes import Code
from imaging.conformance import problems
from imaging.errors import ObjectInvalid
from imaging.findings import ClassProbability, Finding, ObjectRef, Report
from imaging.objects import encoded
from imaging.outline import signed_area
from imaging.reasons import Reason
from imaging.seg import segmentation
from imaging.sr import measurement_report
from tests.builders import mr_series, placed, report_on

SHAPE = (9, 20, 16)
GLIOMA = Code("393564001", "SCT", "Glioma")
NONE = Code("281900007", "SCT", "No abnormality detected")


def images() -> list[Dataset]:
    return mr_series(SHAPE, placed("sagittal", (1.2, 1.0, 0.9), turn_deg=12))


def measured() -> Report:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:6, 4:12, 3:9] = True
    mask[4, 12:15, 3:9] = True
    return report_on(images(), [mask])


def classified(report: Report) -> Finding:
    deciding = tuple(header.instance_uid for header in report.instances[3:5])
    return Finding(
        tracking_id="tumour-class",
        tracking_uid="2.25.1",
        concept=NONE,
        site=codes.BRAIN,
        statement="No tumour (probability 0.98).",
        probability=0.98,
        probabilities=(
            ClassProbability(concept=NONE, probability=0.98),
            ClassProbability(concept=GLIOMA, probability=0.02),
        ),
        evidence=deciding,
        key_instance=deciding[0],
    )


def abstained() -> Finding:
    return Finding(
        tracking_id="brain",
        tracking_uid="2.25.2",
        concept=codes.BRAIN,
        site=None,
        statement="Brain volume was not measured.",
        measurements=(),
        abstained=Reason(code="MASK_TOUCHES_BORDER", text="the brain is cut off at the top"),
    )


def made(report: Report) -> bytes:
    source = images()[0]
    seg = segmentation(report, source, wetread_version="0.1.0")
    return encoded(measurement_report(report, source, segmentation=seg, wetread_version="0.1.0"))


def read(data: bytes, folder: Path) -> Any:
    path = folder / "sr.dcm"
    path.write_bytes(data)
    return hd.sr.srread(path)


def all_kinds() -> Report:
    report = measured()
    findings = (classified(report), abstained(), *report.findings)
    return replace(report, findings=findings)


def texts(item: Dataset) -> list[str]:
    own = [item.TextValue] if item.ValueType == "TEXT" else []
    return own + [t for child in item.get("ContentSequence", ()) for t in texts(child)]


def test_conforms_and_is_repeatable() -> None:
    data = made(all_kinds())
    assert problems(data) == ()
    assert data == made(all_kinds())


def test_volume_stands_on_the_segment(tmp_path: Path) -> None:
    report = measured()
    sr = read(made(report), tmp_path)
    (group,) = sr.content.get_volumetric_roi_measurement_groups()
    (volume,) = group.get_measurements()
    assert volume.unit.value == "ml"
    assert volume.value == pytest.approx(report.findings[0].measurements[0].value, rel=1e-5)
    assert group.tracking_uid == report.findings[0].tracking_uid
    seg = segmentation(report, images()[0], wetread_version="0.1.0")
    assert seg is not None
    assert group.referenced_segment.referenced_sop_instance_uid == seg.SOPInstanceUID


def test_outline_encloses_the_mask_on_its_largest_slice(tmp_path: Path) -> None:
    report = measured()
    (group,) = read(made(report), tmp_path).content.get_planar_roi_measurement_groups()
    outline = group.roi.value
    mask = report.segments[0].mask[4]
    assert signed_area(outline) == mask.sum()
    rows, columns = np.nonzero(mask)
    assert outline.min(axis=0).tolist() == [columns.min(), rows.min()]
    assert outline.max(axis=0).tolist() == [columns.max() + 1, rows.max() + 1]
    (source,) = group.roi.ContentSequence
    (image,) = source.ReferencedSOPSequence
    assert image.ReferencedSOPInstanceUID == report.instances[4].instance_uid


def test_drawn_groups_come_first() -> None:
    ds = dcmread(BytesIO(made(all_kinds())))
    measurements = next(
        item for item in ds.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    )  # fmt: skip
    kinds = [{child.ValueType for child in group.ContentSequence}
             for group in measurements.ContentSequence]  # fmt: skip
    assert "SCOORD" in kinds[0]
    assert not any("SCOORD" in kind for kind in kinds[1:])


def test_classes_have_probabilities_and_images(tmp_path: Path) -> None:
    report = all_kinds()
    groups = read(made(report), tmp_path).content.get_image_measurement_groups()
    group = next(g for g in groups if g.tracking_identifier == "tumour-class")
    found = {
        item.ContentSequence[0].ConceptCodeSequence[0].CodeValue: measurement.value
        for measurement in group.get_measurements()
        for item in measurement
    }
    assert found == {NONE.value: 0.98, GLIOMA.value: 0.02}
    uids = [image.referenced_sop_instance_uid for image in group.source_images]
    assert uids == list(report.findings[0].evidence)


def test_abstention_is_said_without_numbers(tmp_path: Path) -> None:
    report = measured()
    silent = replace(report.findings[0], abstained=abstained().abstained, statement="Not measured.")
    sr = read(made(replace(report, findings=(silent,))), tmp_path)
    (group,) = sr.content.get_image_measurement_groups()
    assert group.get_measurements() == []
    said = "Not measured: the brain is cut off at the top (MASK_TOUCHES_BORDER)"
    assert said in texts(group[0])
    assert not sr.content.get_planar_roi_measurement_groups()


def test_every_image_is_evidence_and_doubts_are_in_words() -> None:
    note = Reason(code="LOSSY_INPUT", text="the images were compressed with loss")
    earlier = [
        ObjectRef(sop_class_uid=uid, instance_uid="2.25.7", series_uid="2.25.8", study_uid="2.25.9")
        for uid in ("1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.66.4")
    ]
    report = replace(measured(), notes=(note,), predecessors=tuple(earlier))
    ds = dcmread(BytesIO(made(report)))
    (study,) = ds.CurrentRequestedProcedureEvidenceSequence
    listed = {
        ref.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for ref in series.ReferencedSOPSequence
    }
    assert {header.instance_uid for header in report.instances} < listed
    said = " ".join(texts(ds))
    assert "compressed with loss (LOSSY_INPUT)" in said
    assert "Research use only, unverified" in said
    assert report.algorithm.digest in said
    assert report.algorithm.settings_digest in said
    assert (ds.CompletionFlag, ds.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    (study,) = ds.PredecessorDocumentsSequence
    assert len(study.ReferencedSeriesSequence[0].ReferencedSOPSequence) == 1


def test_evidence_from_elsewhere_is_refused() -> None:
    report = measured()
    stray = replace(classified(report), evidence=("2.25.99",))
    with pytest.raises(ObjectInvalid, match="evidence"):
        made(replace(report, findings=(stray,)))


def test_report_without_findings_is_refused() -> None:
    with pytest.raises(ObjectInvalid, match="findings"):
        made(replace(measured(), findings=()))


@pytest.mark.skipif(not shutil.which("dsrdump"), reason="DCMTK's dsrdump is not installed")
def test_dcmtk_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "sr.dcm"
    path.write_bytes(made(all_kinds()))
    run = subprocess.run(["dsrdump", str(path)], capture_output=True, text=True, check=True)
    assert "Brain 1" in run.stdout
    assert "E:" not in run.stderr
