"""Made-up MR studies of a nodule whose extent is known.

Two scanners show it differently: on Alpha it is bright throughout, on Beta its shell is dimmer. A
network that learnt on Alpha outlines the core only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from imaging.findings import Mask
from scripts.demo_studies import (
    MR_ATTRIBUTES,
    SHARED_ATTRIBUTES,
    DemoStudy,
    SliceBlock,
    written,
)

Scanner = Literal["Alpha", "Beta"]
_SHAPE, _SPACING_MM = (32, 48, 48), 4.0  # (slice, row, column)
_TISSUE, _NODULE, _SHELL, _NOISE = 400, 900, 620, 20
_CORE = 0.7  # radius of the core over that of the nodule
_ATTRIBUTES = {
    **SHARED_ATTRIBUTES,
    **MR_ATTRIBUTES,
    "DerivationDescription": "Made by a computer; nobody was scanned.",
    "StudyDescription": "Phantom of a nodule",
    "SeriesDescription": "Phantom",
    "ProtocolName": "Phantom",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Phantom:
    """A study on disk, and where the nodule is: `truth` (slice, row, column), slices as in it."""

    study: DemoStudy
    truth: Mask


def phantom(number: int, scanner: Scanner, folder: Path) -> Phantom:
    """Write the study of patient `number`; the same number and scanner give the same study."""
    chance = np.random.default_rng([number, len(scanner)])
    axes = [(np.arange(n) - (n - 1) / 2) * _SPACING_MM for n in _SHAPE]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    body = _ellipsoid(places, np.zeros(3), np.array([56, 85, 70]) * chance.uniform(0.9, 1.1, 3))
    middle, radii = chance.uniform(-14, 14, 3), chance.uniform(20, 30, 3)
    nodule = _ellipsoid(places, middle, radii)
    values = np.where(body < 1, float(_TISSUE), 0.0)
    values[nodule < 1] = _SHELL if scanner == "Beta" else _NODULE
    values[nodule < _CORE] = _NODULE
    values += chance.normal(0, _NOISE, _SHAPE)
    block = SliceBlock(
        name=f"phantom {number} {scanner}",
        date="20240117",
        stored=np.clip(values, 0, 4095).astype("<u2"),
        spacing_mm=(_SPACING_MM,) * 3,
        origin_mm=(float(axes[2][0]), float(axes[1][0]), float(axes[0][0])),
        attributes={
            **_ATTRIBUTES,
            "PatientName": f"Phantom^{number}",
            "PatientID": f"PHANTOM-{number}",
            "PatientSex": "FM"[number % 2],
            "PatientAge": f"{40 + number % 40:03d}Y",
            "Manufacturer": scanner,
        },
    )
    return Phantom(study=written(block, folder), truth=nodule < 1)


def _ellipsoid(places: np.ndarray, middle: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return the distance from the middle of an ellipsoid, 1 on its surface."""
    away = (places - middle[:, None, None, None]) / radii[:, None, None, None]
    return np.asarray(np.sqrt((away**2).sum(0)))
