"""Loss before arrival: said by the header, or by an encoding where the header is silent."""

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import UID

from imaging.frames import headers_of
from imaging.header import header_of
from imaging.loss import in_words
from imaging.stack import Stack, stacks_of
from tests.builders import ct_series
from tests.enhanced import enhanced

BASELINE, NEAR, J2K, HTJ2K, LOSSLESS = (
    f"1.2.840.10008.1.2.4.{suffix}" for suffix in ("50", "81", "91", "203", "80")
)


def notes(syntax: str, **header) -> list[str]:
    images = ct_series((3, 8, 8), **header)
    for image in images:
        image.file_meta.TransferSyntaxUID = UID(syntax)
    (stack,) = stacks_of([header_of(image) for image in images])
    assert isinstance(stack, Stack)
    return [note.text.partition("(")[2] for note in stack.notes if note.code == "LOSSY_INPUT"]


def test_the_header_tells_method_and_ratio():
    said = {"LossyImageCompression": "01", "LossyImageCompressionMethod": "ISO_10918_1"}
    assert notes(LOSSLESS, **said, LossyImageCompressionRatio="12.54") == ["ISO_10918_1, 12.5 : 1)"]
    assert notes(LOSSLESS, LossyImageCompression="01") == ["unknown)"]


def test_steps_one_after_the_other_multiply():
    methods = ["ISO_10918_1", "ISO_15444_1"]
    found = notes(J2K, LossyImageCompression="01", LossyImageCompressionMethod=methods,
                  LossyImageCompressionRatio=["4", "2.5"])  # fmt: skip
    assert found == ["ISO_10918_1 + ISO_15444_1, 10 : 1)"]


def test_slices_of_different_ratios_give_a_range():
    images = ct_series((3, 8, 8), LossyImageCompression="01",
                       LossyImageCompressionMethod="ISO_15444_1")  # fmt: skip
    for image, ratio in zip(images, ("9.8", "7", "8"), strict=True):
        image.LossyImageCompressionRatio = ratio
    losses = [header_of(image).image.loss for image in images]
    assert in_words(filter(None, losses)) == "ISO_15444_1, 7 - 9.8 : 1"


@pytest.mark.parametrize(
    ("syntax", "said", "found"),
    [
        (BASELINE, None, ["JPEG baseline)"]),
        (BASELINE, "00", ["JPEG baseline)"]),  # a codec cannot keep what it does not code
        (NEAR, None, ["JPEG-LS near-lossless)"]),
        (J2K, None, ["JPEG 2000)"]),
        (J2K, "00", []),
        (HTJ2K, None, ["HTJ2K)"]),
        (LOSSLESS, None, []),
    ],
)
def test_an_encoding_tells_where_the_header_is_silent(syntax, said, found):
    assert notes(syntax, LossyImageCompression=said) == found


def test_frames_have_the_loss_of_their_instance():
    whole = enhanced(ct_series((3, 8, 8), LossyImageCompression="01"))
    assert all(header.image.loss for header in headers_of(whole))


def test_real_files_are_marked(shared_data: Path):
    folder = shared_data / "transfer_syntax_ct1"
    for suffix in ("4.50", "4.81", "4.91"):
        header = header_of(dcmread(folder / f"ct1_1.2.840.10008.1.2.{suffix}.dcm"))
        assert header.image.loss is not None
