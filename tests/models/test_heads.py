"""The shipped networks on real heads, and on what only looks like one."""

import numpy as np
import pytest

from imaging.measure import volume_ml
from models.infer import SeriesClasses, predict
from models.interpret import interpret
from tests.models.volumes import dice, part, volume_of


def brain_ml(found):
    (finding,) = found.findings
    assert finding.abstained is None, finding.statement
    return finding.measurements[0].value


def test_colin_brain(colin, colin_brain, colin_outlined):
    (segment,) = colin_outlined.segments
    assert dice(segment.mask, colin_brain) >= 0.92
    reference = volume_ml(colin_brain, colin.grid)
    assert reference == pytest.approx(1737, abs=1)
    assert brain_ml(colin_outlined) == pytest.approx(reference, rel=0.10)


def test_oblique_sagittal_brain(philips, philips_brain, philips_outlined):
    (segment,) = philips_outlined.segments
    assert segment.mask.shape == philips.voxels.shape
    assert dice(segment.mask, philips_brain) >= 0.95
    assert brain_ml(philips_outlined) == pytest.approx(1464, rel=0.05)


def stripped(colin, brain):
    return volume_of(np.where(brain, colin.voxels, 0), colin.grid)


def other_contrast(colin, brain):
    inverted = np.where(colin.voxels > 20, 200 - 0.75 * colin.voxels, 0)
    return volume_of(inverted, colin.grid)


def below_missing(colin, brain):
    return part(colin, slice(25, None), slice(None), slice(None))


def noise(colin, brain):
    shape = (120, 128, 110)
    return part(volume_of(np.random.default_rng(0).random(colin.voxels.shape), colin.grid),
                *(slice(0, n) for n in shape))  # fmt: skip


@pytest.mark.parametrize(
    ("make", "codes"),
    [
        (stripped, {"NOT_HEAD_LIKE"}),
        (other_contrast, {"NOT_HEAD_LIKE"}),
        (below_missing, {"MASK_TOUCHES_BORDER"}),
        (noise, {"NOTHING_FOUND", "NOT_HEAD_LIKE", "IMPLAUSIBLE_VOLUME"}),
    ],
)
def test_what_is_no_whole_t1_head_is_not_measured(
    make, codes, colin, colin_brain, brain_extraction, sessions
):
    volume = make(colin, colin_brain)
    prediction = predict(brain_extraction, volume, sessions=sessions, masks={})
    found = interpret(prediction, brain_extraction, volume, result_key="key", masks={})
    (finding,) = found.findings
    assert finding.abstained is not None, finding.statement
    assert finding.abstained.code in codes
    assert found.segments == ()


@pytest.mark.parametrize("name", ["colin", "philips"])
def test_healthy_heads_show_no_tumour(name, request, brain_tumour_class, sessions):
    volume = request.getfixturevalue(name)
    (segment,) = request.getfixturevalue(f"{name}_outlined").segments
    masks = {"brain-extraction": segment.mask}

    prediction = predict(brain_tumour_class, volume, sessions=sessions, masks=masks)
    found = interpret(prediction, brain_tumour_class, volume, result_key="key", masks=masks)

    assert isinstance(prediction, SeriesClasses)
    assert 5 <= len(prediction.slices) <= 12
    (finding,) = found.findings
    assert finding.statement.startswith("No tumour (probability ")
    assert finding.probability > 0.95
    own_images = {item.instance_uid for item in prediction.slices} != {None}
    assert own_images == (name == "colin")
    assert len(finding.evidence) == (
        len(prediction.slices) if own_images else len(volume.instances)
    )
