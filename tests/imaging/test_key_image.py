from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from imaging.conformance import problems
from imaging.findings import Report
from imaging.header import header_of
from imaging.key_image import display_window, key_image
from imaging.key_slice import key_slice
from imaging.objects import encoded
from tests.builders import mr_series, placed, report_on

SHAPE = (6, 40, 30)
WINDOW = (500.0, 1000.0)


def square_mask() -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:4, 10:20, 5:15] = True
    mask[3, 20:22, 5:15] = True
    return mask


def made(report: Report, source: Dataset, grey: float = 0.0) -> bytes:
    plane = np.full(SHAPE[1:], grey, dtype=np.float32)
    ds = key_image(report, source, plane=plane, index=3, window=WINDOW, wetread_version="0.1.0")
    return encoded(ds)


def test_conforms_and_is_repeatable() -> None:
    images = mr_series(SHAPE)
    report = report_on(images, [square_mask()])
    data = made(report, images[0])
    assert problems(data) == ()
    assert data == made(report, images[0])


def test_body_part_may_be_absent() -> None:
    images = mr_series(SHAPE, BodyPartExamined=None)
    assert problems(made(report_on(images, [square_mask()]), images[0])) == ()


def test_pixels_are_square_and_the_outline_lies_on_the_mask() -> None:
    images = mr_series(SHAPE, placed("coronal", (3.0, 2.0, 1.0)))
    ds = dcmread(BytesIO(made(report_on(images, [square_mask()]), images[0])))
    pixels = ds.pixel_array.astype(int)
    scale = 768 / (40 * 2.0)  # output pixels for each millimetre
    margin = (ds.Columns - 30 * 1.0 * scale) / 2  # the slice is narrower than the text band
    drawn = np.argwhere(np.ptp(pixels, axis=2) > 20)
    top, left = drawn.min(axis=0)
    bottom, right = drawn.max(axis=0)
    expected = np.array([10 * 2.0, 5 * 1.0, 22 * 2.0, 15 * 1.0]) * scale + [0, margin, 0, margin]
    assert np.abs(np.array([top, left, bottom, right]) - expected).max() <= 2


def test_a_colour_that_screens_cannot_show_becomes_the_nearest() -> None:
    images = mr_series(SHAPE)
    report = report_on(images, [square_mask()])
    red = tuple(replace(each, cielab=(53.0, 80.0, 67.0)) for each in report.segments)
    pixels = dcmread(BytesIO(made(replace(report, segments=red), images[0]))).pixel_array
    assert ((pixels[..., 0] > 250) & (pixels[..., 1] < 5) & (pixels[..., 2] < 5)).any()


def test_window_is_applied() -> None:
    images = mr_series(SHAPE)
    report = report_on(images)
    for value, expected in ((0, 0), (250, 64), (1000, 255), (5000, 255)):
        pixels = dcmread(BytesIO(made(report, images[0], value))).pixel_array
        assert pixels[200, 200].tolist() == pytest.approx([expected] * 3, abs=1)


def test_long_text_makes_the_image_higher_not_shorter() -> None:
    images = mr_series(SHAPE)
    report = report_on(images, [square_mask()])
    wordy = replace(report.findings[0], statement="Brain " * 200 + "x" * 300)
    short, long = (
        dcmread(BytesIO(made(r, images[0]))) for r in (report, replace(report, findings=(wordy,)))
    )
    assert long.Rows > short.Rows + 200
    assert long.Columns == short.Columns
    band = long.pixel_array[768:]
    assert band[:, -4:].max() == 0  # nothing runs into the right edge
    assert band[-12:].max() == 0


def test_no_patient_in_the_pixels_or_description() -> None:
    pixels = []
    for name, number in (("Phantom^Phyllis", "PH-1"), ("Someone^Else", "XX-2")):
        images = mr_series(SHAPE, PatientName=name, PatientID=number)
        ds = dcmread(BytesIO(made(report_on(images, [square_mask()]), images[0])))
        assert ds.BurnedInAnnotation == "YES"
        pixels.append(ds.PixelData)
    assert pixels[0] == pixels[1]


@pytest.mark.parametrize(
    ("plane", "expected"),
    [("axial", ["L", "P"]), ("sagittal", ["P", "F"]), ("coronal", ["L", "F"])],
)
def test_directions_are_the_patients(plane: str, expected: list[str]) -> None:
    images = mr_series(SHAPE, placed(plane))
    ds = dcmread(BytesIO(made(report_on(images), images[0])))
    assert list(ds.PatientOrientation) == expected


def test_key_slice_is_the_largest_area_unless_named() -> None:
    images = mr_series(SHAPE)
    report = report_on(images, [square_mask()])
    (finding,) = report.findings
    assert key_slice(report) == 3
    for index, expected in ((2, 2), (0, 3)):  # slice 0 does not show the segment
        named = replace(finding, key_instance=report.instances[index].instance_uid)
        assert key_slice(replace(report, findings=(named,))) == expected


def test_key_slice_without_segments() -> None:
    images = mr_series(SHAPE)
    report = report_on(images, [square_mask()])
    plain = replace(
        report.findings[0], segment_number=None, evidence=(report.instances[1].instance_uid,)
    )
    assert key_slice(replace(report, findings=(plain,))) == 1
    assert key_slice(replace(report, findings=(replace(plain, evidence=()),))) == 3


def test_display_window_falls_back_to_the_values() -> None:
    (image, *_) = mr_series(SHAPE, WindowCenter=None)
    plane = np.linspace(0, 100, 1200, dtype=np.float32).reshape(SHAPE[1:])
    centre, width = display_window(header_of(image), plane)
    assert centre == pytest.approx(50, abs=0.1)
    assert width == pytest.approx(98, abs=0.1)
