"""What an ONNX file says of its network, and what follows for a new `model.toml`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from imaging.errors import PackageInvalid

_MOST_CHANNELS = 4
_SLICES, _VOLUMES = 4, 5  # axes with batch and channel
_PATCH = (96, 96, 96)
_TYPES = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output; None is an axis of any size, and no shape at all is not known."""

    name: str
    element: int
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Inputs and outputs, the operator behind the first output, and files beside with weights."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    last_operator: str
    files: tuple[str, ...]

    @property
    def alike(self) -> bool:
        """Whether all inputs are of one size."""
        return len({each.shape for each in self.inputs}) == 1

    @property
    def channels_last(self) -> bool:
        """Whether channels follow the image axes, by the sizes of both axes."""
        shape = self.inputs[0].shape
        first, last = shape[1], shape[-1]
        return not _few(first) and _few(last)

    @property
    def channels(self) -> int:
        """How many channels the first input has; 1 where it does not say."""
        return self.inputs[0].shape[-1 if self.channels_last else 1] or 1

    @property
    def image_shape(self) -> tuple[int | None, ...]:
        """The first input without batch and channel."""
        shape = self.inputs[0].shape
        return shape[1:-1] if self.channels_last else shape[2:]

    @property
    def task(self) -> str:
        """Segmentation if an image comes out, else classification."""
        outputs, whole = len(self.outputs[0].shape), len(self.inputs[0].shape)
        if self.outputs[0].element not in _TYPES and outputs == whole - 1:
            return "segmentation"  # numbers of labels, without a channel
        return "segmentation" if outputs in {0, whole} else "classification"

    @property
    def answers(self) -> int:
        """How many output channels or classes there are; 1 where it does not say."""
        shape = self.outputs[0].shape
        last = self.channels_last or self.task == "classification"
        return (shape[-1 if last else 1] if len(shape) > 1 else None) or 1

    @property
    def activation(self) -> str:
        """What is still to be applied to get probabilities."""
        if self.last_operator in {"Sigmoid", "Softmax"}:
            return "none"
        if self.outputs[0].element not in _TYPES and self.task == "segmentation":
            return "numbers"
        return "sigmoid" if self.answers == 1 else "softmax"


def read_network(path: Path) -> Network:
    """Return what the ONNX file `path` says.

    Raises
    ------
    PackageInvalid
        It is no ONNX file, or a network that cannot be served; every reason is named.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError, ValueError) as error:
        msg = f"{path.name} cannot be read as ONNX: {error}"
        raise PackageInvalid(msg) from error
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    behind = {name: node.op_type for node in graph.node for name in node.output}
    network = Network(
        inputs=tuple(_port(each) for each in graph.input if each.name not in weights),
        outputs=tuple(map(_port, graph.output)),
        last_operator=behind.get(graph.output[0].name, "") if graph.output else "",
        files=tuple(sorted(set(_locations(graph.initializer)))),
    )
    if problems := _problems(network):
        raise PackageInvalid("\n".join(f"{path.name}: {problem}" for problem in problems))
    return network


def technical_text(network: Network, axes: str, scaling: str) -> str:
    """Return the tables `[input]` and `[inference]` for a network."""
    shape = network.image_shape
    fixed = all(shape)
    size = list(shape) if fixed else None
    if len(shape) == _SLICES - 2:
        how, size = ['mode = "slices"'], [1, *size] if size else None
    elif network.task == "classification":
        how = ['mode = "whole"']
    else:
        how = ['mode = "sliding_window"', f"patch = {size or list(_PATCH)}", "overlap = 0.5"]
        size = None
    sizing = [f"size = {size}", 'sizing = "stretch"  # or pad'] if size else []
    spacing = [] if len(shape) == _SLICES - 2 else ["# spacing_mm = [1.5, 1.5, 1.5]"]
    wants, gives = _said(network.inputs[0]), ", ".join(map(_said, network.outputs))
    end = network.last_operator or "nothing"
    return "\n".join([
        f"[input]  # the network wants {wants} and gives {gives}",
        f"axes = {json.dumps(axes)}  # where the array axes point: R right, A front, S head",
        *spacing,
        *sizing,
        *([f"channels = {network.channels}  # so many equal ones"] if network.channels > 1 else []),
        *(["channels_last = true"] if network.channels_last else []),
        "",
        "[input.intensity]",
        *_INTENSITY[scaling],
        "",
        "[inference]",
        *how,
        f"activation = {json.dumps(network.activation)}  # the network ends with {end}",
    ])  # fmt: skip


_INTENSITY = {
    "range": ['scaling = "range"  # to 0..1, cut off outside', "lower = -160.0", "upper = 240.0"],
    "zscore": ['scaling = "zscore"'],
    "percentile": ['scaling = "percentile"', "lower = 0.5", "upper = 99.5"],
    "maximum": ['scaling = "maximum"'],
    "none": ['scaling = "none"'],
}
SCALINGS = tuple(_INTENSITY)


def _problems(network: Network) -> list[str]:
    if not network.inputs or not network.outputs:
        return ["it has no input or no output"]
    first, names = network.inputs[0], ", ".join(port.name for port in network.inputs)
    rules = {
        f"its inputs ({names}) are not images of one size": network.alike,
        f"its input {_said(first)} is neither (batch, channel, rows, columns) nor a volume with "
        "batch and channel": len(first.shape) in {_SLICES, _VOLUMES},
        "its input holds no floating point numbers": first.element in _TYPES,
        "its weights are in another folder": all(Path(f).name == f for f in network.files),
    }
    return [rule for rule, holds in rules.items() if not holds]


def _port(value: onnx.ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    return Port(
        name=value.name,
        element=tensor.elem_type,
        shape=tuple(dim.dim_value or None for dim in tensor.shape.dim),
    )


def _locations(tensors: Sequence[onnx.TensorProto]) -> list[str]:
    pairs = [pair for tensor in tensors for pair in tensor.external_data]
    return [pair.value for pair in pairs if pair.key == "location"]


def _few(size: int | None) -> bool:
    return size is not None and size <= _MOST_CHANNELS


def _said(port: Port) -> str:
    return f"{port.name} ({', '.join(str(size or 'any') for size in port.shape)})"
