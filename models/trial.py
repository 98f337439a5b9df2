"""Tries a package out on noise before it is installed, so that no patient is its first input."""

from collections.abc import Iterator

import numpy as np

from imaging.errors import ModelError, PackageInvalid
from imaging.geometry import Grid
from models.bundle_maps import label_maps
from models.infer import class_probabilities, one_map_each
from models.manifest import Activation, Kind, Manifest, Mode, Task
from models.package import Package
from models.runtime import Array, Runner, Sessions

# Odd on purpose: a series has any number of slices, rows and columns.
_ODD_SHAPE = (37, 45, 53)
_BUNDLE_SHAPE = (33, 48, 43)
_SPACING_MM = 2.0
_TOLERANCE = 1e-3


def try_out(package: Package, sessions: Sessions) -> None:
    """Run the network of `package` on noise of the shapes that its manifest declares.

    Raises
    ------
    PackageInvalid
        The message names everything that does not fit, one to a line.
    """
    if package.manifest.kind is Kind.BUNDLE:
        _try_bundle(package, sessions)
        return
    problems: list[str] = []
    for batch in sorted({1, package.manifest.inference.batch}):
        problems += _problems(package.manifest, sessions.runner(package), batch)
    if problems:
        raise PackageInvalid("\n".join(dict.fromkeys(problems)))


def _try_bundle(package: Package, sessions: Sessions) -> None:
    affine = np.diag([_SPACING_MM, _SPACING_MM, _SPACING_MM, 1.0])
    grid = Grid(shape=_BUNDLE_SHAPE, affine=affine, frame_of_reference_uid="")
    noise = np.random.default_rng(0).normal(0.0, 200.0, grid.shape).astype(np.float32)
    try:
        answer = sessions.ask(package, [noise] * (1 + len(package.manifest.needs.others)), affine)
        if package.manifest.task is Task.CLASSIFICATION:
            class_probabilities(answer.voxels, len(package.manifest.classes))
        else:
            label_maps(answer, package.manifest.labels, grid)
    except ModelError as error:
        raise PackageInvalid(str(error)) from error


def _problems(manifest: Manifest, runner: Runner, batch: int) -> Iterator[str]:
    shape = _shape(manifest)
    channels = manifest.input.channels + len(manifest.needs.others)
    images = np.random.default_rng(0).random((batch, channels, *shape))
    given = np.moveaxis(images, 1, -1) if manifest.input.channels_last else images
    try:
        output = runner(given.astype(np.float32))
    except ModelError as error:
        yield f"{error}{_hint(manifest)}"
        return
    last = manifest.input.channels_last and output.ndim == given.ndim
    output = np.moveaxis(output, -1, 1) if last else output
    if manifest.inference.activation is not Activation.NUMBERS:
        yield from _misfits(output, manifest, images.shape)
        return
    try:
        one_map_each(output, manifest.labels, images.shape)
    except ModelError as error:
        yield str(error)


def _shape(manifest: Manifest) -> tuple[int, ...]:
    shape = manifest.inference.patch or manifest.input.size or _ODD_SHAPE
    return shape[1:] if manifest.inference.mode is Mode.SLICES else shape


def _hint(manifest: Manifest) -> str:
    if manifest.inference.patch or manifest.input.size:
        return ""
    return " (series have any size: see input.sizing and size, or inference.patch)"


def _misfits(output: Array, manifest: Manifest, given: tuple[int, ...]) -> Iterator[str]:
    """Name what an output, (batch, channel, ...), has that the manifest does not say."""
    batch, _, *shape = given
    if manifest.task is Task.CLASSIFICATION:
        try:
            class_probabilities(output, len(manifest.classes))
        except ModelError as error:
            yield str(error)
            return
    elif output.ndim != len(given) or [output.shape[0], *output.shape[2:]] != [batch, *shape]:
        yield f"the network gave {output.shape} for an input of {given}"
        return
    most = max((label.channel for label in manifest.labels), default=0)
    if output.shape[1] <= most:
        yield f"the network has {output.shape[1]} output channels, a label is in channel {most}"
    if not np.isfinite(output).all():
        yield "the network gave values that are no numbers"
    elif manifest.inference.activation is Activation.NONE and _beyond(output):
        yield (
            f"the network gave {output.min():.3g} to {output.max():.3g}, which are no "
            "probabilities: inference.activation is sigmoid or softmax"
        )


def _beyond(output: Array) -> bool:
    return bool(output.min() < -_TOLERANCE or output.max() > 1.0 + _TOLERANCE)
