"""Window presets: the grey scales that readers expect, by modality."""

from dataclasses import dataclass

import numpy as np

from imaging.header import InstanceHeader
from imaging.volume import Voxels

Window = tuple[float, float]
AUTO, SENDER = "auto", "sender"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A named window; centre and width in the units of the image."""

    name: str
    label: str
    window: Window


CT_PRESETS = (
    Preset(name="brain", label="Brain", window=(40.0, 80.0)),
    Preset(name="stroke", label="Stroke", window=(35.0, 35.0)),
    Preset(name="subdural", label="Subdural", window=(75.0, 215.0)),
    Preset(name="soft", label="Soft tissue", window=(40.0, 400.0)),
    Preset(name="lung", label="Lung", window=(-600.0, 1500.0)),
    Preset(name="bone", label="Bone", window=(500.0, 2000.0)),
)


def presets_of(modality: str) -> tuple[Preset, ...]:
    """Return the named windows of a modality; only CT values mean the same everywhere."""
    return CT_PRESETS if modality == "CT" else ()


def preset_window(name: str, modality: str) -> Window | None:
    """Return the window of a preset, ``None`` when the modality has none of this name."""
    return next((p.window for p in presets_of(modality) if p.name == name), None)


def sender_window(header: InstanceHeader) -> Window | None:
    """Return the window that the sender chose, if it is one."""
    window = header.image.window
    return (window[0], window[1]) if window and window[1] > 1 else None


def auto_window(voxels: Voxels) -> Window:
    """Return the window from the 1st to the 99th percentile."""
    low, high = np.percentile(voxels, (1, 99))
    return float(low + high) / 2, max(float(high - low), 1.0)
