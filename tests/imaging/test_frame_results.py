"""Results on frames of a multi-frame instance refer to the right frame."""

from dataclasses import replace

import numpy as np
import pytest

from imaging.conformance import problems
from imaging.frames import headers_of
from imaging.key_image import key_image
from imaging.objects import encoded
from imaging.seg import segmentation
from imaging.sr import measurement_report
from imaging.stack import stacks_of
from tests.builders import mr_series, report_on
from tests.enhanced import enhanced

SHAPE = (6, 8, 10)


@pytest.fixture(scope="module")
def source():
    return enhanced(mr_series(SHAPE)[::-1])


@pytest.fixture(scope="module")
def report(source):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1:5, 2:6, 3:7] = True
    mask[3, 1:7, 2:8] = True
    made = report_on(mr_series(SHAPE), [mask])
    (stack,) = stacks_of(headers_of(source))
    evidence = (stack.instances[0].instance_uid,)
    findings = tuple(replace(f, evidence=evidence, key_instance=evidence[0]) for f in made.findings)
    return replace(made, instances=stack.instances, grid=stack.grid, findings=findings)


def test_each_seg_frame_names_the_frame_it_lies_on(report, source):
    seg = segmentation(report, source, wetread_version="0")
    assert not problems(encoded(seg))
    places = [header.image.position for header in report.instances]
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (item,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert item.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert item.ReferencedSOPClassUID == source.SOPClassUID
        place = tuple(frame.PlanePositionSequence[0].ImagePositionPatient)
        index = places.index(place)
        assert item.ReferencedFrameNumber == report.instances[index].frame + 1 == SHAPE[0] - index
    (series,) = seg.ReferencedSeriesSequence
    (only,) = series.ReferencedInstanceSequence
    assert only.ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_outline_and_key_image_name_the_frame_of_the_largest_area(report, source):
    seg = segmentation(report, source, wetread_version="0")
    sr = measurement_report(report, source, segmentation=seg, wetread_version="0")
    assert not problems(encoded(sr))
    regions = [item for item in sr.iterall() if item.keyword == "ReferencedFrameNumber"]
    assert [int(item.value) for item in regions] == [SHAPE[0] - 3]
    assert len(sr.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence) == 2
    picture = key_image(
        report,
        source,
        plane=np.zeros(SHAPE[1:], dtype=np.float32),
        index=3,
        window=(0, 1),
        wetread_version="0",
    )
    assert picture.SourceImageSequence[0].ReferencedFrameNumber == SHAPE[0] - 3
