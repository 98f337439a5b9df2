import numpy as np
import pytest
import torch
from monai.inferers.inferer import SlidingWindowInferer

from models.manifest import Blending
from models.sliding import importance, sliding_window

RNG = np.random.default_rng(3)


def network(x):
    """Nonlinear, two labels from any number of channels, and different at each place of a patch."""
    place = np.linspace(0.5, 1.5, x.shape[-1], dtype=np.float32)
    mixed = np.tanh(x.sum(axis=1, keepdims=True) * place)
    return np.concatenate([mixed, mixed**2 + x[:, :1]], axis=1)


def monai_answer(array, patch, overlap, blending, batch):
    infer = SlidingWindowInferer(
        roi_size=patch, sw_batch_size=batch, overlap=overlap, mode=blending.value, sigma_scale=0.125
    )
    return infer(
        torch.from_numpy(array[np.newaxis]), lambda x: torch.from_numpy(network(x.numpy()))
    ).numpy()[0]


@pytest.mark.parametrize("blending", list(Blending))
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize(
    ("shape", "patch"),
    [
        ((20, 23, 17), (8, 8, 8)),
        ((16, 16, 16), (16, 8, 16)),
        ((5, 30, 9), (8, 12, 10)),  # smaller than the patch along two axes, by odd amounts
        ((9, 10), (4, 7)),
    ],
)
def test_every_voxel_is_monais(shape, patch, overlap, blending):
    array = RNG.standard_normal((3, *shape), dtype=np.float32)
    found = sliding_window(array, network, patch=patch, overlap=overlap, blending=blending, batch=3)
    expected = monai_answer(array, patch, overlap, blending, 3)
    assert found.shape == (2, *shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 4])
def test_channels_and_batches_do_not_matter(channels):
    array = RNG.standard_normal((channels, 12, 13, 14), dtype=np.float32)
    answers = [
        sliding_window(array, network, patch=(6, 6, 6), overlap=0.5,
                       blending=Blending.GAUSSIAN, batch=batch)
        for batch in (1, 5)
    ]  # fmt: skip
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
    expected = monai_answer(array, (6, 6, 6), 0.5, Blending.GAUSSIAN, 1)
    np.testing.assert_allclose(answers[0], expected, atol=1e-5)


def test_no_weight_is_zero_even_in_the_corner_of_a_large_patch():
    assert importance((64, 64, 64), Blending.GAUSSIAN).min() >= 1e-3
