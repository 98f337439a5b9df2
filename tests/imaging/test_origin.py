import pytest

from imaging.header import header_of
from imaging.origin import origin
from tests.builders import ct_series


@pytest.mark.parametrize(
    ("image_type", "expected"),
    [
        (["ORIGINAL", "PRIMARY", "AXIAL"], "primary"),
        (["ORIGINAL", "PRIMARY", "M", "ND", "NORM"], "primary"),
        (["DERIVED", "SECONDARY", "MPR"], "reformatted"),
        (["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"], "reformatted"),
        (["DERIVED", "PRIMARY", "PROJECTION IMAGE", "MIP"], "projected"),
        (["DERIVED", "PRIMARY", "MNIP"], "projected"),
        (["DERIVED", "SECONDARY", "SUB"], "subtracted"),
        (["DERIVED", "PRIMARY", "DIFFUSION", "ADC"], "calculated"),
        (["DERIVED", "PRIMARY", "AXIAL"], "derived"),
        (["ORIGINAL", "PRIMARY", "VOLUME", "MAXIMUM"], "projected"),  # enhanced: value 4
        (None, "primary"),
    ],
)
def test_image_type_tells(image_type: list[str] | None, expected: str) -> None:
    (image, *_) = ct_series((3, 4, 4), ImageType=image_type)
    assert origin(header_of(image)) == expected


def test_words_tell_what_image_type_does_not() -> None:
    derived = {"ImageType": ["DERIVED", "SECONDARY"]}
    (image, *_) = ct_series((3, 4, 4), **derived, SeriesDescription="Cor MPR 3mm")
    assert origin(header_of(image)) == "reformatted"
    (image, *_) = ct_series((3, 4, 4), SeriesDescription="not a MIP at all")
    assert origin(header_of(image)) == "primary"
