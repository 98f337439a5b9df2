"""What becomes of numbers; `test_heads.py` runs the networks on real heads."""

import tracemalloc
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest

from imaging.codes import BRAIN, MILLILITRE, VOLUME
from imaging.identity import derived_uid
from models.infer import LabelMaps, SeriesClasses, SliceClasses
from models.interpret import interpret
from models.manifest_file import read_manifest
from models.package import Package
from tests.models.networks import SEGMENTATION
from tests.models.volumes import grid_of, part, volume_of

SHAPE = (100, 100, 100)
CENTER = np.array([52.0, 50.0, 50.0])


def package_of(name):
    with as_file(files("models.catalog").joinpath(f"{name}.toml")) as path:
        return Package(folder=Path(), manifest=read_manifest(path), digest="0" * 64)


EXTRACTION = package_of("brain_extraction")
CLASSES = package_of("brain_tumour_class")


def inside(radius_mm):
    distance = np.linalg.norm((np.indices(SHAPE).transpose(1, 2, 3, 0) - CENTER) * 2.0, axis=3)
    return distance <= radius_mm


@pytest.fixture(scope="module")
def head():
    """Brain of 65 mm radius (1150 ml) in dark fluid in bright skin, on a neck; 2 mm, axial."""
    s, r, c = np.indices(SHAPE)
    neck = (s < 40) & (((r - 50) ** 2 + (c - 50) ** 2) < 30**2)
    voxels = np.where(neck | inside(85), 90.0, 0.0)
    voxels[inside(77)] = 20.0
    voxels[inside(65)] = 100.0
    return volume_of(voxels, grid_of(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0])))


def outlined(volume, mask, probability=0.98):
    maps = np.where(mask, np.float32(probability), np.float32(0.01))[np.newaxis]
    prediction = LabelMaps(count=len(maps), of=lambda at: maps[at], model_seconds=1.0)
    return interpret(prediction, EXTRACTION, volume, result_key="key", masks={})


def reason(found):
    (finding,) = found.findings
    assert found.segments == ()
    assert finding.measurements == ()
    assert finding.segment_number is None
    assert finding.evidence == ()
    assert finding.statement.startswith("Brain not assessed: ")
    assert finding.statement.endswith(". Research use only, unverified.")
    return finding.abstained.code


def test_a_sound_mask_is_a_segment_and_a_volume(head):
    found = outlined(head, inside(65))
    (finding,), (segment,) = found.findings, found.segments
    np.testing.assert_array_equal(segment.mask, inside(65))
    (volume,) = finding.measurements
    assert (volume.name, volume.unit) == (VOLUME, MILLILITRE)
    assert volume.value == pytest.approx(4 / 3 * np.pi * 6.5**3, rel=0.01)
    assert (
        finding.statement == f"Brain volume {volume.value:.0f} ml. Research use only, unverified."
    )
    assert finding.abstained is None
    assert (finding.concept, finding.site) == (BRAIN, BRAIN)
    assert finding.tracking_id == "brain-extraction/Brain"
    assert finding.tracking_uid == derived_uid("finding", "key", "Brain")
    assert finding.segment_number == segment.number == 1


def test_evidence_is_the_slices_with_mask_the_largest_first(head):
    (finding,) = outlined(head, inside(65)).findings
    areas = inside(65).sum(axis=(1, 2))
    key = head.instances[int(areas.argmax())].instance_uid
    shown = [head.instances[i].instance_uid for i in np.nonzero(inside(65).any(axis=(1, 2)))[0]]
    assert finding.key_instance == finding.evidence[0] == key
    assert sorted(finding.evidence) == sorted(shown)


def test_islands_are_dropped_and_holes_filled(head):
    mask = inside(65)
    mask[2, 2:4, 2:4] = True
    mask[52, 50, 50] = False
    (segment,) = outlined(head, mask).segments
    np.testing.assert_array_equal(segment.mask, inside(65))


def test_nothing_outlined(head):
    assert reason(outlined(head, np.zeros(SHAPE, bool))) == "NOTHING_FOUND"


def test_an_empty_volume(head):
    empty = volume_of(np.zeros(SHAPE), head.grid)
    assert reason(outlined(empty, np.zeros(SHAPE, bool))) == "NOTHING_FOUND"


def test_bright_surroundings_are_not_a_t1_head(head):
    assert reason(outlined(head, inside(58))) == "NOT_HEAD_LIKE"


@pytest.mark.parametrize("radius_mm", [45, 63])
def test_an_implausible_volume(head, radius_mm):
    scale = 4.0 if radius_mm == 63 else 2.0 * radius_mm / 65
    grid = grid_of(SHAPE, np.diag([scale, scale, scale, 1.0]))
    voxels = volume_of(head.voxels, grid)
    assert reason(outlined(voxels, inside(65))) == "IMPLAUSIBLE_VOLUME"


def test_a_mask_of_low_probability(head):
    assert reason(outlined(head, inside(65), probability=0.8)) == "LOW_CONFIDENCE"


@pytest.mark.parametrize(
    "where",
    [
        (slice(0, 78), slice(None), slice(None)),
        (slice(None), slice(26, None), slice(None)),
        (slice(None), slice(0, 74), slice(None)),
        (slice(None), slice(None), slice(26, None)),
        (slice(None), slice(None), slice(0, 74)),
        (slice(34, None), slice(None), slice(None)),
    ],
    ids=["top", "front", "back", "right", "left", "below"],
)
def test_a_brain_cut_off_at_any_side(head, where):
    volume = part(head, *where)
    # Networks stay a few voxels away from a border: the mask alone would not show the cut.
    mask = inside(65)[where]
    for axis in range(3):
        for end in (slice(0, 3), slice(-3, None)):
            mask[(slice(None),) * axis + (end,)] = False
    found = outlined(volume, mask)
    assert reason(found) == "MASK_TOUCHES_BORDER"


def test_a_tight_image_of_a_whole_brain_is_sound(head):
    mask = inside(65)
    spans = [np.nonzero(mask.any(axis=axes))[0] for axes in ((1, 2), (0, 2), (0, 1))]
    # Skin and a little bone are cut at the sides, not the brain; below, only neck is missing.
    where = [slice(span[0] - 5, span[-1] + 6) for span in spans]
    where[0] = slice(spans[0][0] - 10, None)
    volume = part(head, *where)
    assert outlined(volume, mask[tuple(where)]).segments


def series(*rows, uids=True):
    slices = tuple(
        SliceClasses(
            center_mm=(0.0, 0.0, float(i)), instance_uid=f"1.{i}" if uids else None,
            probabilities=row,
        )
        for i, row in enumerate(rows)
    )  # fmt: skip
    return SeriesClasses(slices=slices, outside=0, between=0, model_seconds=1.0)


def classified(head, prediction, masks=None):
    masks = {"brain-extraction": inside(65)} if masks is None else masks
    found = interpret(prediction, CLASSES, head, result_key="key", masks=masks)
    assert found.segments == ()
    (finding,) = found.findings
    assert finding.statement.endswith("Research use only, unverified.")
    return finding


NONE, GLIOMA = (0.0, 0.0, 0.99, 0.01), (0.97, 0.01, 0.01, 0.01)


def test_the_class_is_the_mean_over_slices(head):
    finding = classified(head, series(NONE, (0.1, 0.0, 0.9, 0.0), NONE, NONE, NONE))
    assert finding.concept.meaning == "No brain tumour detected"
    assert finding.probability == pytest.approx((4 * 0.99 + 0.9) / 5)
    assert sum(item.probability for item in finding.probabilities) == pytest.approx(1.0)
    assert finding.statement == (
        "No tumour (probability 0.97, not calibrated, 5 axial slices). "
        "Research use only, unverified."
    )
    assert finding.evidence == ("1.0", "1.2", "1.3", "1.4", "1.1")
    assert finding.key_instance == "1.0"
    assert finding.tracking_id == "brain-tumour-class/Neoplasm of brain"


def test_only_slices_that_show_the_class_are_evidence(head):
    finding = classified(head, series(*[GLIOMA] * 9, NONE))
    assert finding.concept.meaning == "Glioma"
    assert "1.9" not in finding.evidence


def test_reformatted_slices_take_the_series_as_evidence(head):
    finding = classified(head, series(*[NONE] * 6, uids=False))
    assert finding.evidence == tuple(header.instance_uid for header in head.instances)
    assert finding.key_instance is None
    assert "6 reformatted axial slices). Evidence is the whole series." in finding.statement


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([NONE] * 4, "TOO_FEW_SLICES"),
        ([], "TOO_FEW_SLICES"),
        ([NONE] * 7 + [GLIOMA] * 3, "SLICES_DISAGREE"),
        ([(0.0, 0.3, 0.7, 0.0)] * 6, "LOW_PROBABILITY"),
    ],
)
def test_abstention_names_its_reason_and_no_class(head, rows, code):
    finding = classified(head, series(*rows))
    assert finding.abstained.code == code
    assert finding.concept.meaning == "Neoplasm of brain"
    assert finding.probability is None
    assert finding.probabilities == ()
    assert finding.evidence == ()


def test_without_a_brain_mask_there_is_no_class(head):
    finding = classified(head, series(), masks={})
    assert finding.abstained.code == "NO_MASK"
    assert "brain-extraction" in finding.statement


def test_a_hundred_labels_need_the_memory_of_one(tmp_path):
    """A volume of 0.65 million voxels: all maps at once would be 272 MB, all masks 68 MB."""
    shape, count = (40, 128, 128), 104
    text = SEGMENTATION[: SEGMENTATION.index("[[labels]]")]
    one = SEGMENTATION[SEGMENTATION.index("[[labels]]") :]
    for number in range(1, count + 1):
        named = one.replace("number = 1", f"number = {number}")
        text += named.replace('label = "Tissue"', f'label = "Tissue {number}"')
    (tmp_path / "model.toml").write_text(text)
    manifest = read_manifest(tmp_path / "model.toml")
    package = Package(folder=tmp_path, manifest=manifest, digest="0" * 64)
    volume = volume_of(np.zeros(shape), grid_of(shape))

    def of(index):
        probability = np.zeros(shape, dtype=np.float32)
        probability[:, index : index + 1, 8:24] = 1.0
        return probability

    prediction = LabelMaps(count=count, of=of, model_seconds=1.0)
    tracemalloc.start()
    found = interpret(prediction, package, volume, result_key="key", masks={})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [segment.number for segment in found.segments] == list(range(1, count + 1))
    np.testing.assert_array_equal(found.segments[70].mask, of(70) > 0.5)
    assert peak < 20_000_000
