"""Read a frozen TensorFlow GraphDef without TensorFlow, and convert the network in it to ONNX.

Only what a convolutional network frozen for inference holds is understood, all else is refused.
Wire format: protobuf encoding; messages: tensorflow/core/framework, files graph.proto,
node_def.proto, attr_value.proto and tensor.proto, whose field numbers stand below.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from imaging.errors import PackageInvalid

_FLOAT = 1  # DataType.DT_FLOAT
# Opset 13 and IR version 8: read by every ONNX Runtime since 1.10.
_OPSET, _IR_VERSION = 13, 8
_CHANNELS_FIRST = (4, 3, 0, 1, 2)

Tensor = NDArray[np.float32]
_Attribute = int | str | list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operation: its kind, the names of what it reads, its attributes still encoded."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, bytes]


def read_graph(data: bytes) -> dict[str, Node]:
    """Return the nodes of an encoded GraphDef by name.

    Raises
    ------
    PackageInvalid
        The bytes are not a GraphDef.
    """
    try:
        nodes = [_node(value) for number, value in _fields(data) if number == 1]
    except (IndexError, UnicodeDecodeError) as error:
        msg = "the file is not a TensorFlow graph"
        raise PackageInvalid(msg) from error
    return {node.name: node for node in nodes}


def constant(node: Node) -> Tensor:
    """Return the float32 tensor that a Const node holds."""
    shape: list[int] = []
    content, kind = b"", 0
    for number, value in _fields(_message(_one(node.attributes["value"], 8))):
        match number:
            case 1:
                kind = _integer(value)
            case 2:
                shape = [_integer(_one(dim, 1)) for _, dim in _fields(_message(value))]
            case 4 | 5:  # tensor_content, or float_val for a single number
                content = _message(value)
            case _:
                pass
    if kind != _FLOAT:
        msg = f"the constant {node.name!r} is not float32"
        raise PackageInvalid(msg)
    return np.frombuffer(content, dtype="<f4").reshape(shape)


def to_onnx(nodes: Mapping[str, Node], *, source: str, result: str, size: int) -> onnx.ModelProto:
    """Return the network between two nodes as ONNX: (1, 1, size, size, size) in and out, float32.

    Channels move from last to first. The same graph always gives the same bytes.
    """
    return _Conversion(nodes, source).model(result, size)


@dataclass(slots=True)
class _Conversion:
    """One walk from the result back to the source; each node is converted once, inputs first."""

    nodes: Mapping[str, Node]
    source: str
    steps: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    done: dict[str, str] = field(default_factory=dict)

    def model(self, result: str, size: int) -> onnx.ModelProto:
        self.done[self.source] = "image"
        shape = [1, 1, size, size, size]
        output = helper.make_tensor_value_info(self.visit(result), TensorProto.FLOAT, shape)
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.steps, "network", [image], [output], self.weights)
        model = helper.make_model(
            graph,
            producer_name="wetread",
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def visit(self, name: str) -> str:
        """Convert node `name` and what it reads; return the ONNX name of its output."""
        if name not in self.done:
            node = self.nodes[name]
            convert = _CONVERSIONS.get(node.op)
            if convert is None:
                msg = f"the operation {node.op} ({name}) cannot be converted"
                raise PackageInvalid(msg)
            self.done[name] = convert(self, node)
        return self.done[name]

    def add(self, node: Node, kind: str, inputs: list[str], **attributes: _Attribute) -> str:
        step = helper.make_node(kind, inputs, [node.name], name=node.name)
        step.attribute.extend(
            helper.make_attribute(key, value) for key, value in sorted(attributes.items())
        )
        self.steps.append(step)
        return node.name

    def weight(self, name: str, axes: tuple[int, ...]) -> str:
        """Store the constant behind `name` with its axes in ONNX order."""
        node = self.nodes[name]
        while node.op == "Identity":
            node = self.nodes[node.inputs[0]]
        values = np.ascontiguousarray(constant(node).transpose(axes))
        self.weights.append(numpy_helper.from_array(values, node.name))
        return node.name


def _convolution(walk: _Conversion, node: Node) -> str:
    image = walk.visit(node.inputs[0])
    kernel = walk.weight(node.inputs[1], _CHANNELS_FIRST)
    _require(node, padding="SAME", strides=[1, 1, 1])
    return walk.add(node, "Conv", [image, kernel], auto_pad="SAME_UPPER")


def _transposed_convolution(walk: _Conversion, node: Node) -> str:
    image = walk.visit(node.inputs[2])
    # Kernels are (D, H, W, out, in) here and (in, out, D, H, W) in ONNX.
    kernel = walk.weight(node.inputs[1], _CHANNELS_FIRST)
    _require(node, padding="SAME", strides=[2, 2, 2])
    # "SAME" at stride 2 with a kernel of 3 pads the forward convolution by 0 before and 1 after.
    return walk.add(
        node, "ConvTranspose", [image, kernel], strides=[2, 2, 2], pads=[0, 0, 0, 1, 1, 1]
    )


def _bias(walk: _Conversion, node: Node) -> str:
    image = walk.visit(node.inputs[0])
    bias = walk.weight(node.inputs[1], (0,))
    step = walk.steps[-1]
    assert step.output[0] == image  # a bias follows its convolution
    step.input.append(bias)
    return image


def _pool(walk: _Conversion, node: Node) -> str:
    image = walk.visit(node.inputs[0])
    _require(node, padding="VALID", strides=[2, 2, 2])
    return walk.add(node, "MaxPool", [image], kernel_shape=[2, 2, 2], strides=[2, 2, 2])


def _join(walk: _Conversion, node: Node) -> str:
    return walk.add(node, "Concat", [walk.visit(name) for name in node.inputs[:-1]], axis=1)


def _pointwise(kind: str) -> Callable[[_Conversion, Node], str]:
    return lambda walk, node: walk.add(node, kind, [walk.visit(node.inputs[0])])


def _pass(walk: _Conversion, node: Node) -> str:
    # A dropout is Merge(Identity(Switch(x)), dropped x): at inference x goes straight through.
    return walk.visit(node.inputs[0])


_CONVERSIONS: Mapping[str, Callable[[_Conversion, Node], str]] = {
    "Conv3D": _convolution,
    "Conv3DBackpropInputV2": _transposed_convolution,
    "BiasAdd": _bias,
    "MaxPool3D": _pool,
    "ConcatV2": _join,
    "Relu": _pointwise("Relu"),
    "Sigmoid": _pointwise("Sigmoid"),
    "Identity": _pass,
    "Merge": _pass,
    "Switch": _pass,
}


def _require(node: Node, *, padding: str, strides: list[int]) -> None:
    found = _message(_one(node.attributes["padding"], 2)).decode()
    packed = _message(_one(_message(_one(node.attributes["strides"], 1)), 3))
    if found != padding or list(packed) != [1, *strides, 1]:
        msg = f"{node.name}: padding {found}, strides {list(packed)} cannot be converted"
        raise PackageInvalid(msg)


def _node(encoded: int | bytes) -> Node:
    name, op = "", ""
    inputs: list[str] = []
    attributes: dict[str, bytes] = {}
    for number, value in _fields(_message(encoded)):
        match number:
            case 1:
                name = _message(value).decode()
            case 2:
                op = _message(value).decode()
            case 3:
                inputs.append(_message(value).decode())
            case 5:
                entry = _message(value)
                attributes[_message(_one(entry, 1)).decode()] = _message(_one(entry, 2))
            case _:
                pass
    return Node(name=name, op=op, inputs=tuple(inputs), attributes=attributes)


def _one(encoded: int | bytes, wanted: int) -> int | bytes:
    for number, value in _fields(_message(encoded)):
        if number == wanted:
            return value
    msg = f"a message of the graph lacks field {wanted}"
    raise PackageInvalid(msg)


def _message(value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    msg = "a message of the graph holds a number where bytes must be"
    raise PackageInvalid(msg)


def _integer(value: int | bytes) -> int:
    if isinstance(value, int):
        return value
    msg = "a message of the graph holds bytes where a number must be"
    raise PackageInvalid(msg)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of one message; fixed-size values stay bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        match key & 7:
            case 0:
                value, position = _varint(data, position)
                yield key >> 3, value
                continue
            case 1:
                length = 8
            case 5:
                length = 4
            case 2:
                length, position = _varint(data, position)
            case kind:
                msg = f"wire type {kind} is not in a TensorFlow graph"
                raise PackageInvalid(msg)
        if position + length > len(data):
            msg = "the graph is cut off"
            raise PackageInvalid(msg)
        yield key >> 3, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return result, position
        shift += 7
