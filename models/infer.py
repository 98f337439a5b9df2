"""Run a package on a volume: the numbers the network gives, in the patient's frame."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from imaging.errors import InferenceFailed
from imaging.findings import Mask
from imaging.geometry import Grid, axis_codes
from imaging.header import InstanceHeader
from imaging.resample import windowed
from imaging.volume import Volume
from models.bundle_maps import label_maps
from models.manifest import Activation, InputSpec, Kind, Label, Manifest, Mode, Sizing, Task
from models.package import Package
from models.preprocess import (
    Block,
    cropped,
    prepared,
    restored,
    scale_of,
    sized,
    turn_to,
    turned,
)
from models.runtime import Array, Runner, Sessions
from models.sliding import sliding_window

_PAIR = 2  # classes that one number tells apart


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelMaps:
    """Probability of each label, float32, (slice, row, column), on the source grid.

    Labels are in the order of the manifest, `count` of them; `of` makes the map of one, so that a
    hundred need the memory of one. `model_seconds` is the time in the network.
    """

    count: int
    of: Callable[[int], Array]
    model_seconds: float

    @property
    def probability(self) -> Array:
        """All maps at once, (label, slice, row, column)."""
        return np.stack(list(map(self.of, range(self.count))))


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceClasses:
    """Class probabilities of one slice.

    `center_mm` is the LPS position of its middle; `instance_uid` is the source image, or None when
    the slice was cut across several.
    """

    center_mm: tuple[float, float, float]
    instance_uid: str | None
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesClasses:
    """Class probabilities of the slices that were read.

    Attributes
    ----------
    slices
        In order along the first axis of the network's input.
    outside
        Slices left out because the gate's mask has too little area there.
    between
        Slices left out by the step.
    model_seconds
        The time in the network.
    """

    slices: tuple[SliceClasses, ...]
    outside: int
    between: int
    model_seconds: float


Prediction: TypeAlias = LabelMaps | SeriesClasses


def predict(
    package: Package, volume: Volume, *, sessions: Sessions, masks: Mapping[str, Mask]
) -> Prediction:
    """Return what the network of `package` says about `volume`.

    `masks` holds, by package name, masks on the grid of `volume` from the packages that this one
    uses; where the gate's mask is missing no slice is read.

    Raises
    ------
    InferenceFailed
        The network failed, or its output is not what the manifest says.
    PackageInvalid
        The network cannot be loaded.
    """
    given, wanted = 1 + len(volume.beside), 1 + len(package.manifest.needs.others)
    if given != wanted:
        msg = f"the model reads {wanted} series at once, and was given {given}"
        raise InferenceFailed(msg)
    if package.manifest.kind is Kind.BUNDLE:
        return _bundle_says(package, volume, sessions)
    manifest, runner = package.manifest, sessions.runner(package)
    if manifest.task is Task.SEGMENTATION:
        return _label_maps(manifest, volume, runner)
    if manifest.inference.mode is Mode.SLICES:
        return _series_classes(manifest, volume, masks, runner=runner)
    return _whole_classes(manifest, volume, runner)


def _label_maps(manifest: Manifest, volume: Volume, runner: Runner) -> LabelMaps:
    block, image = _image(manifest, volume)
    output = _output(manifest, image, runner)
    channels = channels_of(manifest)
    if output.shape[1:] != block.grid.shape or output.shape[0] <= max(channels):
        msg = f"the network gave {output.shape} for an image of {block.grid.shape}"
        raise InferenceFailed(msg)

    def of(index: int) -> Array:
        return restored(output[channels[index]], block.grid, volume.grid)

    return LabelMaps(count=len(channels), of=of, model_seconds=runner.seconds)


def _image(manifest: Manifest, volume: Volume) -> tuple[Block, Array]:
    """Return the first input on the grid of the network, and the scaled image of all channels."""
    spec, first = manifest.input, _block(manifest, volume.voxels, volume.grid)
    scaled = [_scaled(first.voxels, spec, volume.instances)]
    for other in volume.beside:
        voxels = _block(manifest, other.voxels, volume.grid).voxels
        scaled.append(_scaled(voxels, spec, other.instances))
    if len(scaled) == 1:
        return first, np.broadcast_to(scaled[0], (spec.channels, *scaled[0].shape))
    return first, np.stack(scaled)


def _scaled(voxels: Array, spec: InputSpec, instances: tuple[InstanceHeader, ...]) -> Array:
    return scale_of(voxels, spec.intensity_of(instances[0].series.modality))(voxels)


def _block(manifest: Manifest, voxels: Array, grid: Grid) -> Block:
    """Return the image that the network is given; slices keep their number."""
    spec, block = manifest.input, Block(voxels=voxels, grid=grid)
    if manifest.inference.mode is not Mode.SLICES or spec.size is None:
        return prepared(block, spec)
    block = prepared(block, replace(spec, sizing=Sizing.KEEP, size=None))
    return sized(block, spec.sizing, (block.grid.shape[0], *spec.size[1:]))


def _bundle_says(package: Package, volume: Volume, sessions: Sessions) -> Prediction:
    started = time.perf_counter()
    axes = package.manifest.input.axes[::-1] or axis_codes(volume.grid)  # MONAI: (x, y, z)
    turn = turn_to(axes, volume.grid)
    images = [turn.array(v) for v in (volume.voxels, *(each.voxels for each in volume.beside))]
    answer = sessions.ask(package, images, turn.grid(volume.grid).affine)
    seconds = time.perf_counter() - started
    if package.manifest.task is Task.SEGMENTATION:
        labels = package.manifest.labels
        of = label_maps(answer, labels, volume.grid)
        return LabelMaps(count=len(labels), of=of, model_seconds=seconds)
    rows = class_probabilities(answer.voxels, len(package.manifest.classes))
    return _classes_of(rows, volume, seconds)


def _classes_of(rows: Array, volume: Volume, seconds: float) -> SeriesClasses:
    """Return class probabilities of each stored slice, or of the series where there is one row."""
    count, *_ = volume.grid.shape
    if len(rows) == 1:
        slices: tuple[SliceClasses, ...] = (_as_one_slice(rows[0], volume),)
    else:
        axes = axis_codes(volume.grid)
        slices = _located(np.arange(count), rows, volume, axes=axes)
    return SeriesClasses(slices=slices, outside=0, between=0, model_seconds=seconds)


def _as_one_slice(row: Array, volume: Volume) -> SliceClasses:
    middle = (np.array([volume.grid.shape], dtype=np.float64) - 1) / 2
    ((x, y, z),) = volume.grid.points_mm(middle).tolist()
    return SliceClasses(center_mm=(x, y, z), instance_uid=None, probabilities=tuple(row.tolist()))


def _output(manifest: Manifest, image: Array, runner: Runner) -> Array:
    """Return what the network says, (label, slice, row, column), on the image it is given."""
    inference = manifest.inference

    def network(patches: Array) -> Array:
        output = _through(runner, patches, manifest)
        if inference.activation is Activation.NUMBERS:
            return one_map_each(output, manifest.labels, patches.shape)
        return _activated(output, inference.activation)

    if inference.mode is Mode.SLICES:
        slices = np.moveaxis(image, 1, 0)
        starts = range(0, len(slices), inference.batch)
        each = [network(slices[start : start + inference.batch]) for start in starts]
        return np.moveaxis(np.concatenate(each), 0, 1)
    if not inference.patch:
        whole: Array = network(image[np.newaxis])[0]
        return whole
    return sliding_window(
        image,
        network,
        patch=inference.patch,
        overlap=inference.overlap,
        blending=inference.blending,
        batch=inference.batch,
    )


def _through(runner: Runner, images: Array, manifest: Manifest) -> Array:
    """Run (batch, channel, ...) images in the layout of the network; the same layout comes back."""
    if not manifest.input.channels_last:
        return runner(images)
    output = runner(np.moveaxis(images, 1, -1))
    return np.moveaxis(output, -1, 1) if output.ndim == images.ndim else output


def channels_of(manifest: Manifest) -> list[int]:
    """Return in which channel of the activated output each label is."""
    decided = manifest.inference.activation is Activation.NUMBERS
    return [at if decided else label.channel for at, label in enumerate(manifest.labels)]


def one_map_each(output: Array, labels: Sequence[Label], given: tuple[int, ...]) -> Array:
    """Return (batch, label, ...) of 0 and 1 for (batch, ...) or (batch, 1, ...) numbers."""
    batch, _, *shape = given
    if output.size != batch * math.prod(shape) or output.shape[0] != batch:
        msg = f"the network gave {output.shape}, no map of numbers for an image of {tuple(shape)}"
        raise InferenceFailed(msg)
    numbers = output.reshape(batch, *shape)
    maps = [np.isin(numbers, label.values or (label.number,)) for label in labels]
    return np.stack(maps, axis=1).astype(np.float32)


def _activated(output: Array, activation: Activation) -> Array:
    """Apply the activation over axis 1."""
    match activation:
        case Activation.NONE | Activation.NUMBERS:
            return output
        case Activation.SIGMOID:
            return np.exp(-np.logaddexp(np.float32(0.0), -output))
        case Activation.SOFTMAX:
            powers = np.exp(output - output.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def class_probabilities(output: Array, classes: int) -> Array:
    """Return (image, class) of an activated output; one number is that of the second of two."""
    if output.shape[1:] == (1,) and classes == _PAIR:
        return np.concatenate([1.0 - output, output], axis=1)
    if output.shape[1:] != (classes,):
        msg = f"the network gave {output.shape} for {classes} classes"
        raise InferenceFailed(msg)
    return output


def _whole_classes(manifest: Manifest, volume: Volume, runner: Runner) -> SeriesClasses:
    """Return the class probabilities of the series at once, as if it were one thick slice."""
    _, image = _image(manifest, volume)
    rows = _in_batches([image], manifest, runner)
    return _classes_of(rows, volume, runner.seconds)


def _series_classes(
    manifest: Manifest, volume: Volume, masks: Mapping[str, Mask], *, runner: Runner
) -> SeriesClasses:
    spec, inference = manifest.input, manifest.inference
    block = turned(Block(voxels=volume.voxels, grid=volume.grid), spec.axes)
    inside = _gated(manifest, volume, masks)
    step = max(round(inference.step_mm / block.grid.spacing_mm[0]), 1)
    chosen = inside[(len(inside) - 1) % step // 2 :: step]  # as much left out below as above
    scale = scale_of(block.voxels, spec.intensity_of(volume.instances[0].series.modality))
    images = [scale(_slice(block, index, manifest)) for index in chosen.tolist()]
    probabilities = _in_batches(images, manifest, runner)
    return SeriesClasses(
        slices=_located(chosen, probabilities, volume, axes=spec.axes),
        outside=block.grid.shape[0] - len(inside),
        between=len(inside) - len(chosen),
        model_seconds=runner.seconds,
    )


def _gated(manifest: Manifest, volume: Volume, masks: Mapping[str, Mask]) -> NDArray[np.intp]:
    """Return which slices, along the first axis of the network's input, are worth reading."""
    turn = turn_to(manifest.input.axes, volume.grid)
    gate = manifest.inference.gate
    if not gate:
        return np.arange(turn.grid(volume.grid).shape[0])
    if gate not in masks:
        return np.arange(0)
    areas = turn.array(masks[gate]).sum(axis=(1, 2))
    return np.nonzero(areas >= max(manifest.inference.gate_fraction * areas.max(), 1))[0]


def _slice(block: Block, index: int, manifest: Manifest) -> Array:
    """Return slice `index`, (channel, row, column), cropped and sized, intensities as they are."""
    spec = manifest.input
    _, rows, columns = block.grid.shape
    grid = windowed(block.grid, (index, 0, 0), (1, rows, columns))
    one = Block(voxels=block.voxels[index : index + 1], grid=grid)
    one = sized(cropped(one) if spec.crop else one, spec.sizing, spec.size)
    return np.repeat(one.voxels, spec.channels, axis=0)


def _in_batches(images: list[Array], manifest: Manifest, runner: Runner) -> Array:
    """Return class probabilities, (slice, class)."""
    inference, classes = manifest.inference, len(manifest.classes)
    found = [np.empty((0, classes), dtype=np.float32)]
    for start in range(0, len(images), inference.batch):
        batch = np.stack(images[start : start + inference.batch])
        output = _activated(_through(runner, batch, manifest), inference.activation)
        found.append(class_probabilities(output, classes))
    return np.concatenate(found)


def _located(
    chosen: NDArray[np.intp], probabilities: Array, volume: Volume, *, axes: str
) -> tuple[SliceClasses, ...]:
    turn = turn_to(axes, volume.grid)
    grid = turn.grid(volume.grid)
    _, rows, columns = grid.shape
    middles = [[index, (rows - 1) / 2, (columns - 1) / 2] for index in chosen.tolist()]
    centers = grid.points_mm(np.array(middles, dtype=np.float64).reshape(-1, 3))
    instances = [header.instance_uid for header in volume.instances]
    if 0 in turn.reversed_axes:
        instances.reverse()
    whole = turn.order[0] == 0  # a slice of the network is a slice of the series
    return tuple(
        SliceClasses(
            center_mm=(x, y, z),
            instance_uid=instances[index] if whole else None,
            probabilities=tuple(row),
        )
        for index, (x, y, z), row in zip(
            chosen.tolist(), centers.tolist(), probabilities.tolist(), strict=True
        )
    )
