"""What the chaos run works on: small studies, and a model so light that most time is killing."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from pydicom import dcmread

from imaging.identity import StudyUID
from scripts.demo_studies import MR_ATTRIBUTES, SHARED_ATTRIBUTES, SliceBlock, written

_MANIFEST = """\
[model]
name = "bright-tissue"
version = "1.0"
title = "Bright tissue"
manufacturer = "Wetread chaos run"
task = "segmentation"
intended_use = "Outlines what is bright. For tests only."
licence = "Apache-2.0"
source = "made by scripts/chaos.py"
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
_SIZE = 32
_FEWEST, _MOST = 8, 20
_LATE_SHARE, _MOST_LATE = 0.3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosStudy:
    """One series on disk; its last `late` slices are sent some seconds after the others."""

    study_uid: StudyUID
    slices: dict[str, Path]
    late: int

    @property
    def parts(self) -> tuple[tuple[str, ...], ...]:
        """UIDs of what is sent together, in order."""
        uids = tuple(self.slices)
        cut = len(uids) - self.late
        return tuple(part for part in (uids[:cut], uids[cut:]) if part)


def write_study(number: int, dice: random.Random, folder: Path) -> ChaosStudy:
    """Write a study of few slices that is like no other; `dice` decides its size."""
    count = dice.randint(_FEWEST, _MOST)
    late = dice.randint(1, _MOST_LATE) if dice.random() < _LATE_SHARE else 0
    stored = np.random.default_rng(dice.getrandbits(32)).integers(0, 40, (count, _SIZE, _SIZE))
    stored[2:-2, 8:-8, 8:-8] += 1000
    block = SliceBlock(
        name=f"chaos {number}",
        date="20260102",
        stored=stored.astype("<u2"),
        spacing_mm=(2.0, 1.0, 1.0),
        origin_mm=(-16.0, -16.0, 0.0),
        attributes={
            **SHARED_ATTRIBUTES,
            **MR_ATTRIBUTES,
            "PatientID": f"CHAOS-{number}",
            "PatientName": f"Chaos^{number}",
            "StudyDescription": "Head",
        },
    )
    study = written(block, folder / f"{number:05d}")
    uids = (str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in study.paths)
    slices = dict(zip(uids, study.paths, strict=True))
    return ChaosStudy(study_uid=study.study_uid, slices=slices, late=late)


def write_package(folder: Path) -> Path:
    """Write a model package whose network gives the image itself as the probability."""
    folder.mkdir(parents=True, exist_ok=True)
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * 5)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "tiny", [image], [result]
    )
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), folder / "model.onnx")
    (folder / "model.toml").write_text(_MANIFEST, encoding="utf-8")
    return folder
