"""Nuclear medicine as slices: reconstructed tomograms give one position and a signed distance.

Other nuclear medicine images are projections or repetitions and are never slices.
"""

from dataclasses import replace

import numpy as np
from pydicom import Dataset

from imaging.attributes import items, vector
from imaging.header import InstanceHeader

_NUCLEAR = "1.2.840.10008.5.1.4.1.1.20"
_RECONSTRUCTED = "RECON TOMO"
_POSITION, _ORIENTATION = "ImagePositionPatient", "ImageOrientationPatient"
_THREE, _SIX = 3, 6


def is_nuclear(header: InstanceHeader) -> bool:
    """Whether the image is one of the Nuclear Medicine IOD (PS3.3 A.5), in one frame or several."""
    return header.sop_class_uid == _NUCLEAR


def is_nuclear_picture(header: InstanceHeader) -> bool:
    """Whether it is a nuclear medicine image, or a run of them, that is no reconstructed slice."""
    image = header.image
    whole = header.frame is None and (image.frames > 1 or image.orientation is None)
    return is_nuclear(header) and whole


def slices_of(whole: InstanceHeader, ds: Dataset) -> tuple[InstanceHeader, ...]:
    """Return a header for each slice of a reconstructed tomogram; any other image as it is.

    Spacing Between Slices is signed: a positive one stacks slices behind the first, along the
    cross product of row and column (PS3.3 C.8.4.15). Without it the direction is unknown.
    """
    image, step_mm = whole.image, whole.image.slice_spacing_mm
    position, orientation = _plane(whole, ds)
    kinds = whole.acquisition.image_type
    if _RECONSTRUCTED not in kinds or not _in_order(ds, image.frames):
        return (whole,)
    if image.frames == 1:
        return (replace(whole, image=replace(image, position=position, orientation=orientation)),)
    if not step_mm or position is None or orientation is None:
        placed = replace(image, orientation=orientation)
        return tuple(replace(whole, frame=n, image=placed) for n in range(image.frames))
    normal = np.cross(orientation[:_THREE], orientation[_THREE:])
    step = normal / (np.linalg.norm(normal) or 1.0) * step_mm
    return tuple(
        replace(
            whole,
            frame=number,
            image=replace(
                image,
                position=tuple((np.array(position) + step * number).tolist()),
                orientation=orientation,
                step_from="Spacing Between Slices",
            ),
        )
        for number in range(image.frames)
    )


def _plane(
    whole: InstanceHeader, ds: Dataset
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return position and orientation of the first slice: of its detector, else of the image."""
    detector = next(iter(items(ds, "DetectorInformationSequence")), Dataset())
    return (
        vector(detector, _POSITION, _THREE) or whole.image.position,
        vector(detector, _ORIENTATION, _SIX) or whole.image.orientation,
    )


def _in_order(ds: Dataset, frames: int) -> bool:
    """Whether frames are slices 1 to n, each once (PS3.3 C.8.4.8: Slice Vector)."""
    written = vector(ds, "SliceVector")
    return written is None or written == tuple(range(1, frames + 1))
