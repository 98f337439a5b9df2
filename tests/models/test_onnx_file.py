import tomllib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from imaging.errors import PackageInvalid
from models.onnx_file import read_network, technical_text
from tests.models.networks import numbered, planar, published, whole_classifier


@pytest.fixture
def read(tmp_path):
    def reads(model):
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return read_network(path)

    return reads


def network(given, result, *operators):
    names = ["x", *map(str, range(len(operators) - 1)), "y"]
    pairs = zip(operators, names, names[1:], strict=False)
    return published([helper.make_node(op, [a], [b]) for op, a, b in pairs], given, result)


@pytest.mark.parametrize(
    ("given", "result", "expected"),
    [
        ([1, 1, None, None, None], [1, 3, None, None, None], (False, 1, "segmentation", 3)),
        ([1, 64, 64, 64, 1], [1, 64, 64, 64, 2], (True, 1, "segmentation", 2)),
        ([None, 3, 224, 224], [None, 4], (False, 3, "classification", 4)),
        ([None, 240, 240, 3], [None, 4], (True, 3, "classification", 4)),
        ([None, None, 96, 96, 96], [None, None, 96, 96, 96], (False, 1, "segmentation", 1)),
    ],
)
def test_layout_and_task_follow_from_the_shapes(read, given, result, expected):
    found = read(network(given, result, "Relu"))
    assert (found.channels_last, found.channels, found.task, found.answers) == expected


@pytest.mark.parametrize(
    ("answers", "operator", "activation"),
    [
        (3, "Relu", "softmax"),
        (1, "Relu", "sigmoid"),
        (3, "Softmax", "none"),
        (1, "Sigmoid", "none"),
    ],
)
def test_the_activation_follows_from_the_end_of_the_network(read, answers, operator, activation):
    found = read(network([1, 1, None, None, None], [1, answers, None, None, None], operator))
    assert found.activation == activation


def test_a_fixed_size_becomes_the_patch_of_volumes_and_the_size_of_slices(read):
    volumes = read(network([1, 1, 32, 48, 64], [1, 2, 32, 48, 64], "Relu"))
    said = tomllib.loads(technical_text(volumes, "RAS", "range"))
    assert said["inference"]["patch"] == [32, 48, 64]
    assert said["input"]["intensity"]["scaling"] == "range"
    said = tomllib.loads(technical_text(read(planar(16)), "SPL", "zscore"))
    assert (said["inference"]["mode"], said["input"]["size"]) == ("slices", [1, 16, 16])
    said = tomllib.loads(technical_text(read(whole_classifier()), "RAS", "zscore"))
    assert (said["inference"]["mode"], "size" in said["input"]) == ("whole", False)


def test_what_cannot_be_served_is_said_at_once(read):
    ports = [
        helper.make_tensor_value_info(name, TensorProto.INT64, [1, 8]) for name in ("a", "b", "y")
    ]
    node = helper.make_node("Add", ["a", "b"], ["y"])
    model = helper.make_model(helper.make_graph([node], "two", ports[:2], ports[2:]))
    with pytest.raises(PackageInvalid) as refused:
        read(model)
    said = str(refused.value)
    assert "a (1, 8) is neither" in said
    assert "no floating point numbers" in said


def test_several_inputs_and_numbers_of_labels_are_seen(read):
    found = read(numbered())
    assert [port.name for port in found.inputs] == ["first", "second"]
    model = numbered()
    model.graph.output.reverse()  # the numbers first
    assert (read(model).task, read(model).activation) == ("segmentation", "numbers")
    model.graph.input[1].type.tensor_type.shape.dim[2].dim_value = 7
    with pytest.raises(PackageInvalid, match=r"\(first, second\) are not images of one"):
        read(model)


def test_a_file_that_is_no_network_is_said(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(PackageInvalid, match="cannot be read as ONNX"):
        read_network(tmp_path / "model.onnx")


def test_weights_beside_the_file_are_named_and_must_be_beside_it(read):
    model = planar()
    tensor = model.graph.initializer[0]
    values = numpy_helper.to_array(tensor)
    tensor.raw_data = values.astype(np.float32).tobytes()
    onnx.external_data_helper.set_external_data(tensor, "model.data")
    tensor.ClearField("raw_data")
    assert read(model).files == ("model.data",)
    tensor.external_data[0].value = "../model.data"
    with pytest.raises(PackageInvalid, match="another folder"):
        read(model)
