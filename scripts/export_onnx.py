"""Export a trained network as a model package, checked against the network it came from.

    scripts/export_onnx.py run --manifest model.toml -o my-model

`run` is the folder of `scripts/train.py`; its averaged weights are exported. The package is the
manifest, `model.onnx` and what the network learnt from.
"""

import argparse
import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from imaging.errors import PackageInvalid, WetreadError
from models.manifest_file import FILE_NAME
from models.package import read_package
from scripts.training.config import TrainingConfig, read_config
from scripts.training.loop import CHECKPOINT
from scripts.training.networks import average_of, build
from scripts.training.provenance import FILE_NAME as PROVENANCE

_TOLERANCE = 1e-3  # of the output, in float32; half precision may differ by 0.05
_HALF_TOLERANCE = 5e-2
_OPSET = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far the export is from the network.

    Attributes
    ----------
    largest
        Difference of any output value.
    decisions
        Share of output values on the other side of zero.
    """

    largest: float
    decisions: float


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        parity = export(options.run, options.manifest, options.out, half=options.half)
    except WetreadError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    size = (options.out / "model.onnx").stat().st_size / 1e6
    print(
        f"{options.out}: {size:.1f} MB, differs from the network by at most "
        f"{parity.largest:.1e}; {parity.decisions:.2e} of its decisions do"
    )
    return 0


def export(run: Path, manifest: Path, folder: Path, *, half: bool = False) -> Parity:
    """Write a package into `folder`; return how exact it is.

    Raises
    ------
    PackageInvalid
        The manifest is not valid, or the export does not say what the network says.
    SetupError
        There is no such run.
    """
    config = read_config(run / "config.toml")
    network = build(config.model_copy(update={"start": ""}))
    network.load_state_dict(average_of(run / CHECKPOINT))
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(manifest, folder / FILE_NAME)
    shutil.copyfile(run / PROVENANCE, folder / PROVENANCE)
    written = folder / "model.onnx"
    to_onnx(network.eval(), example(config), written, half=half)
    read_package(folder)
    parity = compared(network, written, example(config))
    if parity.largest > (_HALF_TOLERANCE if half else _TOLERANCE):
        written.unlink()
        msg = f"the export differs from the network by {parity.largest:.1e}"
        raise PackageInvalid(msg)
    return parity


def to_onnx(network: nn.Module, image: torch.Tensor, path: Path, *, half: bool) -> None:
    """Write a network as ONNX, batch and image size left open; the weights in one file.

    `half` keeps weights and arithmetic in 16 bits; input and output stay in 32.
    """
    axes = {0: "batch", **{axis: f"size_{axis}" for axis in range(2, image.ndim)}}
    with warnings.catch_warnings():
        # The exporter by tracing is deprecated; the other cannot leave these sizes open.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (image,), path, input_names=["image"], output_names=["result"],
            dynamic_axes={"image": axes, "result": axes}, opset_version=_OPSET, dynamo=False,
        )  # fmt: skip
    model = onnx.load(path)
    if half:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        model = convert_float_to_float16(model, keep_io_types=True)
    del model.metadata_props[:]
    model.producer_name, model.producer_version, model.doc_string = "wetread", "", ""
    path.write_bytes(model.SerializeToString(deterministic=True))


def compared(network: nn.Module, path: Path, image: torch.Tensor) -> Parity:
    """Run both on the same image."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": image.numpy()})
    with torch.no_grad():
        wanted = network(image).numpy()
    return Parity(
        largest=float(np.abs(found - wanted).max()),
        decisions=float(((found > 0) != (wanted > 0)).mean()),
    )


def example(config: TrainingConfig) -> torch.Tensor:
    """Return an image of the last phase's size, smooth enough to look like one."""
    chance = torch.Generator().manual_seed(0)
    size = config.phases[-1].size
    channels = int(str(config.network.arguments.get("in_channels", 1)))
    coarse = torch.rand((1, channels, 6, 6, 6), generator=chance)
    return nn.functional.interpolate(coarse, size, mode="trilinear")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the folder of a training run")
    parser.add_argument("--manifest", type=Path, required=True, help="the model.toml to take")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the package's folder")
    parser.add_argument("--half", action="store_true", help="16 bits; half the size")
    return parser


if __name__ == "__main__":
    sys.exit(main())
