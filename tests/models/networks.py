"""Packages with tiny networks, made in code."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEGMENTATION = """
[model]
name = "bright-tissue"
version = "1.0"
title = "Bright tissue"
manufacturer = "Tests"
task = "segmentation"
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
scaling = "maximum"

[inference]
mode = "whole"

[[labels]]
number = 1
label = "Tissue"
category = ["85756007", "SCT", "Tissue"]
type = ["85756007", "SCT", "Tissue"]
cielab = [50.0, 0.0, 0.0]
"""

CLASSIFICATION = """
[model]
name = "bright-slices"
version = "1.0"
title = "Bright slices"
manufacturer = "Tests"
task = "classification"
intended_use = "Tests only."
licence = "Apache-2.0"
source = "made in code"
uses = ["bright-tissue"]
concept = ["85756007", "SCT", "Tissue"]
site = ["69536005", "SCT", "Head"]

[needs]
modalities = ["MR"]

[input]
axes = "SPL"
size = [1, 8, 8]
sizing = "stretch"
channels = 3
channels_last = true
[input.intensity]
scaling = "maximum"

[inference]
mode = "slices"
batch = 2
step_mm = 4.0
gate = "bright-tissue"
gate_fraction = 0.5

[[classes]]
index = 0
label = "Dark"
concept = ["DARK", "99TEST", "Dark"]

[[classes]]
index = 1
label = "Bright"
concept = ["BRIGHT", "99TEST", "Bright"]

[checks]
min_slices = 2
min_probability = 0.7
min_agreement = 0.8
"""


TOGETHER = SEGMENTATION.replace(
    "[input]",
    """
[[inputs]]
name = "T1"
weightings = ["T1"]

[[inputs]]
name = "T2"
weightings = ["T2"]

[input]""",
)


def write_package(folder: Path, manifest: str, network: onnx.ModelProto) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.toml").write_text(manifest, encoding="utf-8")
    (folder / "model.onnx").write_bytes(network.SerializeToString(deterministic=True))
    return folder


def segmenter() -> onnx.ModelProto:
    """The image itself, of any size, as the one probability map."""
    return _model([helper.make_node("Identity", ["x"], ["y"])], rank=5)


def difference() -> onnx.ModelProto:
    """The first channel less the second, as the one probability map."""
    weight = numpy_helper.from_array(
        np.array([1.0, -1.0], np.float32).reshape(1, 2, 1, 1, 1), "weight"
    )
    return _model([helper.make_node("Conv", ["x", "weight"], ["y"])], rank=5, weights=[weight])


def numbered() -> onnx.ModelProto:
    """Two inputs of one channel; gives their sum, and the larger one's number as int64 labels."""
    names = ("first", "second")
    shape = [1, 1, None, None, None]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]
    answers = [
        helper.make_tensor_value_info("sum", TensorProto.FLOAT, None),
        helper.make_tensor_value_info("number", TensorProto.INT64, [1] + [None] * 3),
    ]
    nodes = [
        helper.make_node("Add", ["first", "second"], ["sum"]),
        helper.make_node("Concat", ["first", "second"], ["both"], axis=1),
        helper.make_node("ArgMax", ["both"], ["number"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(nodes, "numbered", ports, answers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def classifier() -> onnx.ModelProto:
    """(batch, row, column, 3) to the probabilities of dark and bright: 1 - mean, mean."""
    turn = numpy_helper.from_array(np.array([[-1.0, 1.0]], np.float32), "turn")
    shift = numpy_helper.from_array(np.array([[1.0, 0.0]], np.float32), "shift")
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "turn"], ["turned"]),
        helper.make_node("Add", ["turned", "shift"], ["y"]),
    ]
    return _model(nodes, rank=4, weights=[turn, shift])


def whole_classifier() -> onnx.ModelProto:
    """(batch, 1, any, any, any) to one number, the mean: the probability of the second of two."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3, 4], keepdims=0),
        helper.make_node("Identity", ["mean"], ["y"]),
    ]
    return published(nodes, [None, 1, None, None, None], [None, 1])


def planar(size: int | None = 16) -> onnx.ModelProto:
    """A network of slices, (1, 1, size, size) to (1, 2, size, size): 1 - image, image; logits."""
    weight = numpy_helper.from_array(
        np.array([-20.0, 20.0], np.float32).reshape(2, 1, 1, 1), "weight"
    )
    shift = numpy_helper.from_array(np.array([10.0, -10.0], np.float32), "shift")
    nodes = [helper.make_node("Conv", ["x", "weight", "shift"], ["y"])]
    return published(nodes, [1, 1, size, size], [1, 2, size, size], weights=[weight, shift])


def published(
    nodes: list[onnx.NodeProto],
    given: list[int | None],
    result: list[int | None],
    *,
    weights: list[onnx.TensorProto] | None = None,
) -> onnx.ModelProto:
    """A network that says its shapes, as exporters write them."""
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", given), ("y", result))
    ]
    graph = helper.make_graph(nodes, "tiny", ports[:1], ports[1:], weights or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _model(
    nodes: list[onnx.NodeProto], rank: int, weights: list[onnx.TensorProto] | None = None
) -> onnx.ModelProto:
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * rank)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "tiny", [image], [result], weights or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def endless() -> onnx.ModelProto:
    """A network that would run for years."""
    return _model(_loop(["next"], [helper.make_node("Neg", ["last"], ["next"])]), rank=5)


def greedy() -> onnx.ModelProto:
    """A network that takes ever more memory, for a while: each round doubles what it holds."""
    body = [helper.make_node("Concat", ["last", "last"], ["next"], axis=0)]
    return _model(_loop(["next"], body), rank=5)


def _loop(results: list[str], nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    inputs = [
        helper.make_tensor_value_info("round", TensorProto.INT64, []),
        helper.make_tensor_value_info("going", TensorProto.BOOL, []),
        helper.make_tensor_value_info("last", TensorProto.FLOAT, None),
    ]
    outputs = [
        helper.make_tensor_value_info("on", TensorProto.BOOL, []),
        *(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results),
    ]
    on = helper.make_node("Identity", ["going"], ["on"])
    body = helper.make_graph([on, *nodes], "round", inputs, outputs)
    rounds = numpy_helper.from_array(np.array(1 << 60, np.int64), "rounds")
    true = numpy_helper.from_array(np.array(1, np.bool_), "true")
    return [
        helper.make_node("Constant", [], ["rounds"], value=rounds),
        helper.make_node("Constant", [], ["true"], value=true),
        helper.make_node("Loop", ["rounds", "true", "x"], ["y"], body=body),
    ]
