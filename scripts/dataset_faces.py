"""What shows a face in images of a head, found by the shipped head model.

Everything before and below a plane that touches the space within the skull goes (the idea of
Schimke and Hale, Quickshear defacing for neuroimages, 2011).
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imaging.errors import WetreadError
from imaging.findings import Mask
from imaging.geometry import Grid
from imaging.identity import derived_uid
from imaging.region import regions_of
from imaging.stack import Stack
from imaging.volume import Volume
from models.catalog import install
from models.infer import predict
from models.interpret import interpret
from models.package import Package
from models.registry import Registry
from models.runtime import Sessions, open_sessions

_MODEL, _SKULL = "head-structures", "Intracranial space"
_MARGIN_MM = 8.0
_ANGLES = np.deg2rad(np.arange(25, 66))  # of the plane's normal, below the horizontal


class FaceUncertain(WetreadError):
    """Where the face is cannot be told."""


@contextmanager
def face_finder() -> Iterator["Faces"]:
    """Give a finder of faces, as long as the context lasts."""
    with tempfile.TemporaryDirectory() as folder:
        package = install(_MODEL, Registry(Path(folder) / "models"), Path(folder))
        yield Faces(package=package, sessions=open_sessions("cpu", threads=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """Finds faces by the shipped head model."""

    package: Package
    sessions: Sessions

    def hidden(self, stack: Stack, volume: Volume) -> Mask | None:
        """Return what is to be blackened, (slice, row, column); ``None`` if no head is shown.

        Raises
        ------
        FaceUncertain
            It is a head, or may be one, and the space within its skull is not found.
        """
        regions = regions_of(stack.instances[0])
        if regions and "HEAD" not in regions:
            return None
        prediction = predict(self.package, volume, sessions=self.sessions, masks={})
        uid = derived_uid("faces", volume.instances[0].instance_uid)
        said = interpret(prediction, self.package, volume, result_key=uid, masks={})
        skull = [each.region.whole() for each in said.segments if each.label == _SKULL]
        if not skull:
            msg = "its face cannot be taken out: the skull is not found"
            raise FaceUncertain(msg)
        return before_and_below(skull[0], volume.grid)


def before_and_below(inside: Mask, grid: Grid) -> Mask:
    """Return what lies before and below the space within the skull, the face in any case.

    Of the planes that touch it from there, the one nearest to its middle is taken: it lies along
    frontal and temporal lobe, 8 mm off.
    """
    points = grid.points_mm(np.argwhere(inside & ~_within(inside)).astype(float))
    middle = points.mean(axis=0)
    normals = np.stack([np.zeros_like(_ANGLES), -np.cos(_ANGLES), -np.sin(_ANGLES)], axis=1)
    reach = ((points - middle) @ normals.T).max(axis=0)  # of each plane, in mm
    normal, least = normals[reach.argmin()], reach.min() + _MARGIN_MM
    steps, start = normal @ grid.affine[:3, :3], normal @ (grid.affine[:3, 3] - middle)
    slices, rows, columns = np.ogrid[tuple(slice(n) for n in grid.shape)]
    beyond = start + steps[0] * slices + steps[1] * rows + steps[2] * columns > least
    return np.asarray(beyond)


def _within(mask: Mask) -> Mask:
    """Return the voxels all of whose neighbours in a row and column are in the mask."""
    inner = mask.copy()
    for axis in (1, 2):
        inner &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    return inner
