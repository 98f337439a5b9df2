import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from imaging.errors import InferenceFailed, PackageInvalid
from imaging.header import header_of
from imaging.volume import Beside
from models.infer import LabelMaps, SeriesClasses, predict
from models.package import read_package
from models.runtime import Sessions
from tests.builders import mr_series
from tests.models.networks import (
    CLASSIFICATION,
    SEGMENTATION,
    TOGETHER,
    classifier,
    difference,
    numbered,
    planar,
    segmenter,
    whole_classifier,
    write_package,
)
from tests.models.volumes import grid_of, oblique, volume_of

RNG = np.random.default_rng(5)


@pytest.fixture
def run(tmp_path):
    def run(text, network, volume, masks=None):
        package = read_package(write_package(tmp_path / "package", text, network))
        return predict(package, volume, sessions=Sessions(threads=1), masks=masks or {})

    return run


def axial(shape=(20, 10, 10), *, down=False, voxels=None):
    """Slices 2 mm apart; slice s has the value s unless given."""
    affine = np.diag([1.0, 1.0, -2.0 if down else 2.0, 1.0])
    ramp = np.broadcast_to(np.arange(shape[0])[:, None, None], shape) if voxels is None else voxels
    return volume_of(ramp, grid_of(shape, affine))


@pytest.mark.parametrize("sliding", [False, True])
def test_probabilities_are_on_the_source_grid(run, sliding):
    voxels = RNG.random((9, 12, 15), dtype=np.float32)
    volume = volume_of(voxels, oblique(voxels.shape))
    text = SEGMENTATION
    if sliding:
        text = text.replace('mode = "whole"', 'mode = "sliding_window"\npatch = [8, 5, 7]')
    prediction = run(text, segmenter(), volume)
    assert isinstance(prediction, LabelMaps)
    np.testing.assert_allclose(prediction.probability, voxels[None] / voxels.max(), atol=1e-5)
    assert prediction.probability.dtype == np.float32
    assert prediction.model_seconds > 0


@pytest.mark.parametrize(
    ("activation", "expected"), [("sigmoid", 1 / (1 + np.exp(-1.0))), ("softmax", 1.0)]
)
def test_activations(run, activation, expected):
    text = SEGMENTATION.replace('mode = "whole"', f'mode = "whole"\nactivation = "{activation}"')
    prediction = run(text, segmenter(), axial(voxels=np.full((20, 10, 10), 7.0)))
    assert isinstance(prediction, LabelMaps)
    np.testing.assert_allclose(prediction.probability, expected, atol=1e-6)


@pytest.mark.parametrize(("modality", "expected"), [("MR", 0.25), ("CT", 0.5)])
def test_intensities_are_scaled_by_modality(run, modality, expected):
    text = SEGMENTATION.replace('["MR"]', '["MR", "CT"]').replace(
        "[inference]", '[input.intensity.CT]\nscaling = "range"\nupper = 8.0\n[inference]'
    )
    voxels = np.full((20, 10, 10), 4.0)
    voxels[0, 0, 0] = 16.0
    images = mr_series((20, 2, 2), Modality=modality)
    volume = replace(axial(voxels=voxels), instances=tuple(map(header_of, images)))
    prediction = run(text, segmenter(), volume)
    assert isinstance(prediction, LabelMaps)
    np.testing.assert_allclose(prediction.probability[0, 1], expected, atol=1e-6)


def test_a_network_without_the_labels_channel_fails(run):
    text = SEGMENTATION.replace("number = 1", "number = 1\nchannel = 1")
    with pytest.raises(InferenceFailed, match="the network gave"):
        run(text, segmenter(), axial())


@pytest.mark.parametrize("down", [False, True])
def test_slices_are_chosen_by_gate_and_step_and_named_by_their_image(run, down):
    volume = axial(down=down)
    gate = np.zeros(volume.grid.shape, bool)
    gate[4:13] = True
    gate[13, :4] = True  # less than half the area

    found = run(CLASSIFICATION, classifier(), volume, {"bright-tissue": gate})

    assert isinstance(found, SeriesClasses)
    indices = [4, 6, 8, 10, 12][:: -1 if down else 1]
    uids = [volume.instances[i].instance_uid for i in indices]
    assert [item.instance_uid for item in found.slices] == uids
    z = [item.center_mm[2] for item in found.slices]
    assert z == pytest.approx([(-2.0 if down else 2.0) * i for i in indices])
    bright = [item.probabilities[1] for item in found.slices]
    assert bright == pytest.approx([i / 19 for i in indices], abs=1e-6)
    assert (found.outside, found.between) == (11, 4)


def test_slices_across_the_series_have_no_image_of_their_own(run):
    voxels = RNG.random((9, 12, 15), dtype=np.float32)
    volume = volume_of(voxels, oblique(voxels.shape))
    gate = np.ones(voxels.shape, bool)
    found = run(CLASSIFICATION, classifier(), volume, {"bright-tissue": gate})
    assert isinstance(found, SeriesClasses)
    assert {item.instance_uid for item in found.slices} == {None}
    heights = [item.center_mm[2] for item in found.slices]
    assert heights == sorted(heights)  # from below upwards: axes SPL


def test_without_the_gates_mask_no_slice_is_read(run):
    found = run(CLASSIFICATION, classifier(), axial())
    assert isinstance(found, SeriesClasses)
    assert found.slices == ()
    assert found.outside == 20


def test_an_empty_gate_reads_no_slice(run):
    gate = np.zeros((20, 10, 10), bool)
    found = run(CLASSIFICATION, classifier(), axial(), {"bright-tissue": gate})
    assert isinstance(found, SeriesClasses)
    assert found.slices == ()


def test_the_wrong_number_of_classes_fails(run):
    text = CLASSIFICATION + '[[classes]]\nindex = 2\nlabel = "x"\nconcept = ["X", "99TEST", "X"]\n'
    text = text.replace("[checks]", "[checks]", 1)
    gate = np.ones((20, 10, 10), bool)
    with pytest.raises(InferenceFailed, match="3 classes"):
        run(text, classifier(), axial(), {"bright-tissue": gate})


def test_serving_loads_no_training_library():
    code = (
        "import sys, models.infer, models.interpret, models.registry, models.runtime;"
        "print([name for name in ('torch', 'monai', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


WHOLE = """
[model]
name = "bright-series"
version = "1.0"
title = "Bright series"
manufacturer = "Tests"
task = "classification"
intended_use = "Tests only."
licence = "Apache-2.0"
source = "made in code"
concept = ["85756007", "SCT", "Tissue"]
site = ["69536005", "SCT", "Head"]
[needs]
modalities = ["MR"]
[input]
axes = "RAS"
[input.intensity]
scaling = "range"
upper = 200.0
[inference]
mode = "whole"
[[classes]]
index = 0
label = "Dark"
concept = ["DARK", "99TEST", "Dark"]
[[classes]]
index = 1
label = "Bright"
concept = ["BRIGHT", "99TEST", "Bright"]
"""


def test_one_number_of_a_whole_series_is_the_probability_of_the_second_of_two_classes(run):
    voxels = np.full((8, 10, 12), 150.0)
    found = run(WHOLE, whole_classifier(), volume_of(voxels, grid_of(voxels.shape)))
    assert isinstance(found, SeriesClasses)
    (whole,) = found.slices
    assert whole.probabilities == pytest.approx((0.25, 0.75), abs=1e-6)
    assert whole.instance_uid is None
    assert whole.center_mm == pytest.approx((5.5, 4.5, 3.5))


def test_a_network_of_slices_outlines_a_volume(run):
    rng = np.random.default_rng(7)
    voxels = rng.random((5, 16, 16)).round() * 100.0
    text = SEGMENTATION.replace('mode = "whole"', 'mode = "slices"\nactivation = "softmax"')
    text = text.replace("number = 1\n", "number = 1\nchannel = 1\n")
    text = text.replace('axes = "RAS"', 'axes = "SPL"\nsize = [1, 16, 16]\nsizing = "pad"')
    found = run(text, planar(16), volume_of(voxels, grid_of(voxels.shape)))
    assert isinstance(found, LabelMaps)
    np.testing.assert_array_equal(found.probability[0] > 0.5, voxels > 50.0)


def test_several_inputs_are_channels_in_their_order_each_scaled_by_itself(run):
    first, second = RNG.random((2, 8, 10, 10), dtype=np.float32) * [[[[1.0]]], [[[900.0]]]]
    volume = volume_of(first, grid_of(first.shape))
    beside = Beside(name="T2", voxels=second.astype(np.float32), instances=volume.instances)
    found = run(TOGETHER, difference(), replace(volume, beside=(beside,)))
    expected = first / first.max() - second / second.max()
    np.testing.assert_allclose(found.probability[0], expected, atol=1e-5)
    with pytest.raises(InferenceFailed, match="reads 2 series at once, and was given 1"):
        run(TOGETHER, difference(), volume)


NUMBERED = TOGETHER.replace('mode = "whole"', 'activation = "numbers"\noutput = "number"\n{mode}')


@pytest.mark.parametrize("mode", ['mode = "whole"', 'mode = "sliding_window"\npatch = [4, 6, 6]'])
def test_a_network_may_name_inputs_and_give_numbers_of_labels(run, mode):
    first, second = RNG.random((2, 8, 10, 10), dtype=np.float32)
    volume = volume_of(first, grid_of(first.shape))
    beside = Beside(name="T2", voxels=second, instances=volume.instances)
    text = NUMBERED.replace("{mode}", mode).replace('"maximum"', '"none"')
    found = run(text, numbered(), replace(volume, beside=(beside,)))
    np.testing.assert_array_equal(found.probability[0] > 0.5, second > first)


def test_an_output_of_another_name_is_refused(run):
    text = SEGMENTATION.replace('mode = "whole"', 'mode = "whole"\noutput = "nothing"')
    with pytest.raises(PackageInvalid, match="output is 'nothing', the network has y"):
        run(text, segmenter(), axial())
