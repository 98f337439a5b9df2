"""From a volume to the array a network wants, and back. Whatever feeds a network uses this code.

Every geometric step only makes a new grid in the patient (turned, respaced, stretched, cut or
padded), so one lookup undoes them all: `restored` reads the source voxels in the network's grid.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from imaging.geometry import Grid, axis_codes
from imaging.resample import Shape, resample, resample_extended, respaced, stretched, windowed
from imaging.volume import Voxels
from models.manifest import InputSpec, Intensity, Scaling, Sizing

_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}
# Air and noise lie below a tenth of the brightest tissue in MR.
_TISSUE_FRACTION, _BRIGHT_PERCENTILE = 0.1, 99.5

_Item = TypeVar("_Item", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Voxels, (slice, row, column), and the grid they lie on."""

    voxels: Voxels
    grid: Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Axes of an array in a new order, some of them reversed; exact in both directions.

    `order` names the old axis behind each new one; `reversed_axes` are new axes.
    """

    order: tuple[int, int, int]
    reversed_axes: tuple[int, ...]

    def array(self, array: NDArray[_Item]) -> NDArray[_Item]:
        """Return `array` with its axes turned."""
        return np.flip(array.transpose(self.order), self.reversed_axes)

    def undone(self, array: NDArray[_Item]) -> NDArray[_Item]:
        """Return the array of which `array` is the turned one."""
        a, b, c = np.argsort(self.order)
        return np.flip(array, self.reversed_axes).transpose(a, b, c)

    def grid(self, grid: Grid) -> Grid:
        """Return the grid of a turned array."""
        steps = grid.affine[:3, 2::-1][:, self.order]
        shape = tuple(grid.shape[axis] for axis in self.order)
        first = grid.affine[:3, 3].copy()
        for axis in self.reversed_axes:
            first += steps[:, axis] * (shape[axis] - 1)
            steps[:, axis] *= -1
        affine = grid.affine.copy()
        affine[:3, :3], affine[:3, 3] = steps[:, ::-1], first
        return replace(grid, shape=(shape[0], shape[1], shape[2]), affine=affine)


def turn_to(axes: str, grid: Grid) -> Turn:
    """Return the turn that makes the array axes of `grid` point to `axes`, e.g. ``"RAS"``.

    The nearest axes are taken: an oblique grid stays oblique, nothing is interpolated.
    """
    present = axis_codes(grid)
    both = [present.find(letter) + present.find(_OPPOSITE[letter]) + 1 for letter in axes]
    reversed_axes = tuple(i for i, letter in enumerate(axes) if letter not in present)
    return Turn(order=(both[0], both[1], both[2]), reversed_axes=reversed_axes)


def turned(block: Block, axes: str) -> Block:
    """Return `block` with its array axes pointing to `axes`."""
    turn = turn_to(axes, block.grid)
    return Block(voxels=turn.array(block.voxels), grid=turn.grid(block.grid))


def prepared(block: Block, spec: InputSpec) -> Block:
    """Return `block` turned, respaced, cropped and sized as `spec` says; intensities stay."""
    block = turned(block, spec.axes)
    if spec.spacing_mm:
        grid = respaced(block.grid, spec.spacing_mm)
        block = Block(voxels=resample_extended(block.voxels, block.grid, grid), grid=grid)
    return sized(cropped(block) if spec.crop else block, spec.sizing, spec.size)


def restored(voxels: Voxels, grid: Grid, source: Grid) -> Voxels:
    """Return a network's map on `grid` brought to the `source` grid; zero where it ends.

    A grid that is only turned is turned back, without interpolation and without a copy.
    """
    turn = turn_to(axis_codes(source), grid)
    if turn.grid(grid).same_as(source):
        return turn.array(voxels)
    return resample(voxels, grid, source)


def sized(block: Block, sizing: Sizing, size: Shape | None) -> Block:
    """Return `block` with `size` voxels along its axes, by `sizing`."""
    if size is None or sizing is Sizing.KEEP or block.grid.shape == size:
        return block
    if sizing is Sizing.STRETCH:
        return _smoothed(block, stretched(block.grid, size))
    # The middle stays: a surplus is cut with the odd voxel before, a lack filled with it behind
    # (CenterSpatialCrop and SpatialPad of MONAI).
    starts = [n // 2 - m // 2 if n > m else -((m - n) // 2)
              for n, m in zip(block.grid.shape, size, strict=True)]  # fmt: skip
    return _window(block, (starts[0], starts[1], starts[2]), size)


def cropped(block: Block) -> Block:
    """Return the part of `block` that holds tissue; all of it when nothing stands out."""
    tissue = block.voxels > _TISSUE_FRACTION * np.percentile(block.voxels, _BRIGHT_PERCENTILE)
    if not tissue.any():
        return block
    spans = [np.nonzero(tissue.any(axis=others))[0] for others in ((1, 2), (0, 2), (0, 1))]
    s, r, c = (int(span[0]) for span in spans)
    ns, nr, nc = (int(span[-1]) - int(span[0]) + 1 for span in spans)
    return _window(block, (s, r, c), (ns, nr, nc))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A linear map of intensities, with a cut at 0 and 1 if `clip`."""

    subtract: float
    divide: float
    clip: bool

    def __call__(self, voxels: Voxels) -> Voxels:
        """Return scaled `voxels`, float32."""
        scaled = voxels - np.float32(self.subtract)
        scaled /= np.float32(self.divide)
        return np.clip(scaled, 0.0, 1.0, out=scaled) if self.clip else scaled


def scale_of(voxels: Voxels, intensity: Intensity) -> Scale:
    """Return the map that `intensity` asks for on `voxels`; a flat image is only shifted."""
    low, high = _limits(voxels, intensity)
    clip = intensity.scaling in {Scaling.RANGE, Scaling.PERCENTILE}
    return Scale(subtract=low, divide=high - low or 1.0, clip=clip)


def _limits(voxels: Voxels, intensity: Intensity) -> tuple[float, float]:
    """Return the values that become 0 and 1."""
    match intensity.scaling:
        case Scaling.NONE:
            return 0.0, 1.0
        case Scaling.MAXIMUM:
            return 0.0, float(voxels.max())
        case Scaling.RANGE:
            return intensity.lower, intensity.upper
        case Scaling.PERCENTILE:
            low, high = np.percentile(voxels, [intensity.lower, intensity.upper]).tolist()
            return low, high
        case Scaling.ZSCORE:
            mean = float(voxels.mean(dtype=np.float64))
            return mean, mean + float(voxels.std(dtype=np.float64))


def _smoothed(block: Block, grid: Grid) -> Block:
    return Block(voxels=resample(block.voxels, block.grid, grid, smooth=True), grid=grid)


def _window(block: Block, start: Shape, shape: Shape) -> Block:
    """Return the voxels of `shape` from `start`, with zeros outside `block`."""
    ends = [s + n for s, n in zip(start, shape, strict=True)]
    inner = tuple(slice(max(s, 0), e) for s, e in zip(start, ends, strict=True))
    padding = [(max(-s, 0), max(e - n, 0))
               for s, e, n in zip(start, ends, block.grid.shape, strict=True)]  # fmt: skip
    voxels = np.pad(block.voxels[inner], padding)
    return Block(voxels=voxels, grid=windowed(block.grid, start, shape))
