import pytest
import torch

from imaging.errors import PackageInvalid
from models.bundle import read_bundle
from models.bundle_card import bundle_card
from models.card import card_text
from models.device import CPU
from models.package import read_package
from models.runtime import Sessions
from models.trial import try_out
from tests.models.bundles import spleen, write_bundle
from tests.models.networks import CLASSIFICATION, SEGMENTATION, classifier, segmenter, write_package


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def problems(folder):
    with pytest.raises(PackageInvalid) as refused:
        try_out(read_package(folder), Sessions(devices=(CPU,)))
    return str(refused.value)


def test_sound_packages_pass(tmp_path):
    sessions = Sessions(devices=(CPU,))
    segmentation = write_package(tmp_path / "a", SEGMENTATION, segmenter())
    try_out(read_package(segmentation), sessions)
    try_out(read_package(write_package(tmp_path / "b", CLASSIFICATION, classifier())), sessions)


def test_a_label_without_a_channel_is_found(tmp_path):
    text = SEGMENTATION.replace("number = 1\n", "number = 1\nchannel = 7\n")
    folder = write_package(tmp_path / "a", text, segmenter())
    assert "a label is in channel 7" in problems(folder)


def test_a_class_too_many_is_found(tmp_path):
    more = """
[[classes]]
index = 2
label = "More"
concept = ["85756007", "SCT", "Tissue"]
"""
    folder = write_package(tmp_path / "a", CLASSIFICATION + more, classifier())
    assert "the network gave (1, 2) for 3 classes" in problems(folder)


def test_channels_that_the_network_does_not_take_are_found(tmp_path):
    text = SEGMENTATION.replace('axes = "RAS"', 'axes = "RAS"\nchannels = 3')
    folder = write_package(tmp_path / "a", text, classifier())
    assert "the network failed on an input of shape (1, 3, 37, 45, 53)" in problems(folder)


def test_a_bundle_whose_weights_are_more_than_numbers_is_not_loaded(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", spleen())
    torch.save({"model": Evil()}, bundle / "models" / "model.pt")
    (bundle / "model.toml").write_text(card_text(bundle_card(read_bundle(bundle))))
    assert problems(bundle).startswith("the bundle cannot be loaded: UnpicklingError")
