from pathlib import Path

import pytest
from pydicom import Dataset

from imaging.header import header_of, read_header
from imaging.picture import SpacingSource, picture_of
from imaging.stack import Unusable, stacks_of
from tests.builders import ct_series

CR, DX = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"


def projection(modality="DX", **header):
    (image,) = ct_series((1, 30, 20), PixelSpacing=None, **header)
    image.Modality, image.SOPClassUID = modality, DX
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
        del image[keyword]
    return image


def region(units=3, *, count=1):
    item = Dataset()
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX, item.PhysicalDeltaY = 0.02, -0.03
    return [item] * count


@pytest.mark.parametrize(
    ("header", "spacing", "source"),
    [
        ({}, None, SpacingSource.ABSENT),
        ({"PixelSpacing": [0.2, 0.2]}, (0.2, 0.2), SpacingSource.UNSTATED),
        ({"PixelSpacing": [0, 0]}, None, SpacingSource.ABSENT),
        ({"PixelSpacing": [1e-9, 1e-9]}, None, SpacingSource.ABSENT),
        ({"ImagerPixelSpacing": [0.2, 0.2]}, (0.2, 0.2), SpacingSource.DETECTOR),
        (
            {"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.2, 0.2]},
            (0.2, 0.2),
            SpacingSource.DETECTOR,
        ),
        (
            {"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.15, 0.15]},
            (0.15, 0.15),
            SpacingSource.CALIBRATED,
        ),
        (
            {"PixelSpacing": [0.15, 0.15], "PixelSpacingCalibrationType": "FIDUCIAL"},
            (0.15, 0.15),
            SpacingSource.CALIBRATED,
        ),
        (
            {"ImagerPixelSpacing": [0.2, 0.2], "EstimatedRadiographicMagnificationFactor": 1.25},
            (0.16, 0.16),
            SpacingSource.MAGNIFICATION,
        ),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, (0.1, 0.1), SpacingSource.SCANNED),
        ({"SequenceOfUltrasoundRegions": region()}, (0.3, 0.2), SpacingSource.REGION),
        ({"SequenceOfUltrasoundRegions": region(units=4)}, None, SpacingSource.ABSENT),
        ({"SequenceOfUltrasoundRegions": region(count=2)}, None, SpacingSource.ABSENT),
    ],
)
def test_where_a_spacing_comes_from(header, spacing, source):
    image = projection()
    for keyword, value in header.items():
        setattr(image, keyword, value)
    picture = picture_of(header_of(image))
    assert picture.spacing_mm == (None if spacing is None else pytest.approx(spacing))
    assert picture.source is source
    assert (picture.rows, picture.columns) == (30, 20)


@pytest.mark.parametrize("modality", ["CR", "DX", "MG", "XA", "RF", "US"])
def test_each_2d_image_is_a_part_of_its_own(modality):
    images = [projection(modality), projection(modality)]
    images[1].SOPInstanceUID += "1"
    for image in images:
        image.SeriesInstanceUID = images[0].SeriesInstanceUID
    parts = stacks_of([header_of(image) for image in images])
    assert [part.reason.code for part in parts] == ["IMAGE_2D", "IMAGE_2D"]
    assert all(part.picture is not None for part in parts)


def test_a_single_slice_has_its_spacing_in_the_patient():
    (part,) = stacks_of([header_of(image) for image in ct_series((1, 8, 8))])
    assert isinstance(part, Unusable)
    assert part.reason.code == "SINGLE_IMAGE"
    assert part.picture.source is SpacingSource.PATIENT


@pytest.mark.parametrize(
    ("name", "shape", "spacing", "source"),
    [
        ("cr_mono1_10bit_chest.dcm", (440, 440), None, SpacingSource.ABSENT),
        ("cr_philips_nodules_jpegls.dcm", (1955, 1841), None, SpacingSource.ABSENT),
        ("cr_rsna_mono2.dcm", (1024, 1024), (0.168, 0.168), SpacingSource.UNSTATED),
        ("dx_veterinary.dcm", (169, 211), (1.2, 1.2012), SpacingSource.DETECTOR),
    ],
)
def test_real_radiographs(shared_data: Path, name, shape, spacing, source):
    (part,) = stacks_of([read_header(shared_data / "cxr" / name)])
    assert isinstance(part, Unusable)
    assert part.reason.code == "IMAGE_2D"
    assert (part.picture.rows, part.picture.columns) == shape
    assert part.picture.spacing_mm == (None if spacing is None else pytest.approx(spacing))
    assert part.picture.source is source
