from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from imaging.codes import VOLUME, Code, Unit
from imaging.findings import Measurement
from imaging.saved_report import Group, Outline, changed, groups_of, observer_of

SAVED = Path(__file__).parents[1] / "fixtures" / "viewer"
SQUARE = (16.0, 16.0, 48.0, 16.0, 48.0, 48.0, 16.0, 48.0, 16.0, 16.0)


def _title(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def outline(points: tuple[float, ...] = SQUARE, image: str = "1.1") -> Outline:
    return Outline(image_uid=image, graphic_type="POLYLINE", points=points)


def test_a_report_of_the_viewer_is_read():
    ds = dcmread(SAVED / "report.dcm")
    (group,) = groups_of(ds)
    assert group.finding == Code("85756007", "SCT", "Tissue")
    assert [(m.name.meaning, round(m.value), m.unit.value) for m in group.measurements] == [
        ("Area", 1024, "mm2"),
        ("Maximum", 1000, "1"),
        ("Mean", 940, "1"),
        ("Standard Deviation", 237, "1"),
    ]
    assert [o.points for o in group.outlines] == [SQUARE]
    assert observer_of(ds) == ""  # the viewer knows nobody


def test_a_length_and_an_emptied_group_are_read():
    emptied, length = groups_of(dcmread(SAVED / "report-with-length.dcm"))
    assert (emptied.measurements, emptied.outlines) == ((), ())
    assert [m.name.meaning for m in length.measurements] == ["Length"]
    assert length.outlines[0].pixels is None


def test_groups_of_one_tracking_uid_are_one():
    ds = dcmread(SAVED / "report.dcm")
    (container,) = (i for i in ds.ContentSequence if _title(i) == "Imaging Measurements")
    container.ContentSequence.append(container.ContentSequence[0])
    (group,) = groups_of(ds)
    assert isinstance(group, Group)
    assert len(group.measurements) == 8


@pytest.mark.parametrize(
    ("points", "image", "same"),
    [
        (SQUARE, "1.1", True),
        (SQUARE, "1.2", False),
        (tuple(p + 0.005 for p in SQUARE), "1.1", True),
        (tuple(p + 1 for p in SQUARE), "1.1", False),
        ((16, 16, 32, 16, 48, 16, 48, 48, 16, 48, 16, 16), "1.1", True),  # a point more
        ((16, 16, 32, 20, 48, 16, 48, 48, 16, 48, 16, 16), "1.1", False),
        ((16, 16, 48, 48), "1.1", False),
    ],
)
def test_outlines_are_the_same_when_they_hold_the_same_pixels(points, image, same):
    assert outline().is_same(outline(points, image)) is same
    assert outline().pixels == 1024


def test_only_the_same_quantity_in_the_same_unit_can_have_changed():
    def volume(value: float, unit: str = "ml", name: Code = VOLUME) -> Measurement:
        return Measurement(name=name, value=value, unit=Unit(unit, unit))

    ours = (volume(10.0),)
    assert changed(ours, (volume(10.004), volume(9000, "mm3"), volume(9, name=Code("1", "2", "3"))
                          )) == []  # fmt: skip
    assert changed(ours, (volume(9.0),)) == [volume(9.0)]
