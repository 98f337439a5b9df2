"""Runs one MONAI bundle in its own process: `bundle_child.py FOLDER CONFIG HOW DEVICE THREADS`.

HOW is what the network reads, `volume` or `slices`, and what it says, `outline` or `classes`,
joined by a hyphen.

The only file that knows torch and MONAI. It is started as a file and imports nothing of Wetread,
because a bundle brings folders named `models` and `scripts`. Everything that the bundle's own
configuration says is done by MONAI: only where an image comes from, and where a result is written,
is put in the place of the bundle's folders. One question a line on standard input, one answer a
line on standard output, arrays in files beside.
"""

import ast
import ctypes
import importlib.util
import json
import os
import re
import signal
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import monai
import nibabel
import numpy as np
import torch
from monai.bundle.config_parser import ConfigParser
from monai.data.folder_layout import FolderLayout
from monai.data.image_reader import NibabelReader
from monai.data.image_writer import NibabelWriter
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import decollate_batch, list_data_collate
from monai.inferers.inferer import SimpleInferer, SliceInferer
from monai.transforms.compose import Compose
from monai.transforms.io.dictionary import LoadImaged, SaveImaged
from monai.transforms.post.dictionary import AsDiscreted
from monai.transforms.transform import MapTransform
from monai.transforms.utility.dictionary import EnsureChannelFirstd

_DIE_WITH_PARENT = 1
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SPATIAL = 3
_ANY_GPU = r"torch\.device\('cuda(:\d+)?'\)"
_WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net")


class _Bundle:
    """A bundle that is ready to answer."""

    def __init__(self, config: Path, how: str, device: str) -> None:
        folder = config.parent.parent
        self.planar, self.classifies = how.startswith("slices"), how.endswith("classes")
        self._device = torch.device(device)
        self._parser = ConfigParser()
        self._parser.read_config(str(config))
        _forget_missing(self._parser)
        _say_device(self._parser, device)
        self._parser.read_meta(str(folder / "configs" / "metadata.json"))
        self._parser["bundle_root"] = str(folder)
        if "device" in self._parser:
            self._parser["device"] = f"$torch.device('{device}')"
        self._network = _network(self._parser, folder, self._device)
        for name in ("evaluator#_requires_", "inferer#_requires_"):
            self._part(name)
        self._inferer = self._part("inferer", "evaluator#inferer") or SimpleInferer()
        self._before = self._part("preprocessing", "dataset#transform")
        self._after = self._part("postprocessing", "evaluator#postprocessing")
        self._amp = bool(self._part("evaluator#amp")) and self._device.type == "cuda"
        self._keys = self._image_keys()
        # An inferer that cuts slices itself wants the volume that its author had.
        self.planar = self.planar and not isinstance(self._inferer, SliceInferer)
        self._savers = _savers(self._after, decided=not self.classifies)
        for each in (*_flat(self._before), *_flat(self._after)):
            if isinstance(each, MapTransform) and "label" in each.keys:
                each.allow_missing_keys = True  # what evaluating a bundle reads beside the image

    def answer(self, images: list[Path], folder: Path) -> tuple[Any, Any]:
        """Return the prediction, (channel, x, y, z), and its affine to RAS, for NIfTI files.

        Of a slice there is no z; of classes there is only the channel.
        """
        for number, saver in enumerate(self._savers):
            place = folder / f"saved-{number}"
            saver.saver.folder_layout = FolderLayout(
                str(place), postfix="pred", extension=".nii", parent=False, makedirs=True
            )
        batch = list_data_collate([self._before(self._item(images))])
        inputs = batch["image" if "image" in batch else self._keys[0]].to(self._device)
        with torch.no_grad(), torch.autocast(self._device.type, enabled=self._amp):
            output = {"image": inputs, "pred": self._inferer(inputs, self._network)}
        data = {**decollate_batch(batch)[0], **decollate_batch(output)[0]}
        pred = (self._after(data) if self._after else data)["pred"]
        written = sorted(folder.glob("saved-*/*.nii"))
        if self.classifies:
            return np.asarray(pred.cpu(), dtype=np.float32).reshape(-1), None
        spatial = _SPATIAL - self.planar
        return _written(written[-1], spatial) if written else _held(pred, spatial)

    def _part(self, *names: str) -> Any:
        for name in names:
            if name in self._parser:
                return self._parser.get_parsed_content(name)
        return None

    def _item(self, images: list[Path]) -> dict[str, Any]:
        """Return the images as the bundle's data list would name them."""
        paths = list(map(str, images))
        if len(self._keys) == 1:  # MONAI stacks files of one key as channels
            return {self._keys[0]: paths if len(paths) > 1 else paths[0]}
        if len(self._keys) != len(paths):
            msg = f"its preprocessing reads the files {', '.join(self._keys)}, not {len(paths)}"
            raise ValueError(msg)
        return dict(zip(self._keys, paths, strict=True))

    def _image_keys(self) -> list[str]:
        """Return under which keys images go in, and see to it that files are read as NIfTI."""
        loaders = [each for each in _flat(self._before) if isinstance(each, LoadImaged)]
        if not loaders:
            loaders = [LoadImaged(keys="image")]
            given = [loaders[0], EnsureChannelFirstd(keys="image")]
            self._before = Compose([*given, *([self._before] if self._before else [])])
        for each in loaders:
            loader = each._loader  # noqa: SLF001 - its reader would be that of another format
            own = [reader for reader in loader.readers if isinstance(reader, NibabelReader)]
            loader.readers = [*own] or [NibabelReader()]
        keys = dict.fromkeys(str(key) for loader in loaders for key in loader.keys)
        return [key for key in keys if key != "label"]


def _network(parser: ConfigParser, folder: Path, device: torch.device) -> Any:
    """Return the network with its weights; a pickle is read as tensors only."""
    loader, weights = _checkpoint(parser, folder)
    if weights.suffix == ".ts":
        return torch.jit.load(str(weights), map_location=device).eval()  # type: ignore[no-untyped-call]
    name = "network" if "network" in parser else "network_def"
    network = parser.get_parsed_content(name).to(device)
    state = torch.load(weights, map_location=device, weights_only=True)
    names = (*(loader.get("load_dict") or {}), *_WRAPPERS)
    state = next((state[key] for key in names if isinstance(state.get(key), dict)), state)
    network.load_state_dict(state, strict=str(loader.get("strict", True)) == "True")
    return network.eval()


def _checkpoint(parser: ConfigParser, folder: Path) -> tuple[dict[str, Any], Path]:
    """Return the bundle's checkpoint loader as it is written, and the weights that are there."""
    found = list(_checkpoint_loaders(parser.get(), ""))
    for name, loader in found:
        path = Path(str(parser.get_parsed_content(f"{name}#load_path")))
        if (path if path.is_absolute() else folder / path).is_file():
            return loader, folder / path
    usual = [folder / "models" / "model.pt", folder / "models" / "model.ts"]
    there = [path for path in usual if path.is_file()]
    if not there:
        msg = "no weights: neither where its configuration says nor models/model.pt or model.ts"
        raise FileNotFoundError(msg)
    return (found[0][1] if found else {}), there[0]


def _checkpoint_loaders(config: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(config, dict):
        if str(config.get("_target_", "")).endswith("CheckpointLoader") and "load_path" in config:
            yield name, config
        for key, value in config.items():
            yield from _checkpoint_loaders(value, f"{name}#{key}" if name else str(key))
    elif isinstance(config, list):
        for number, value in enumerate(config):
            yield from _checkpoint_loaders(value, f"{name}#{number}")


def _flat(transform: Any) -> Iterator[Any]:
    inner = getattr(transform, "transforms", None)
    if inner is None:
        yield transform
    for each in inner or ():
        yield from _flat(each)


def _say_device(parser: ConfigParser, device: str) -> None:
    """Let what a bundle wants on any GPU be on the device that it is given."""

    def said(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: said(each) for key, each in value.items()}
        if isinstance(value, list):
            return list(map(said, value))
        there = f"torch.device('{device}')"
        return re.sub(_ANY_GPU, there, value) if isinstance(value, str) else value

    if not device.startswith("cuda"):
        parser.set(said(parser.get()))


def _forget_missing(parser: ConfigParser) -> None:
    """Leave out imports of what is not installed: they are often for lists of data only."""
    for name in ("imports", "import"):
        lines = parser.get(name)
        if isinstance(lines, list):
            parser[name] = [line for line in lines if _importable(str(line))]


def _importable(line: str) -> bool:
    names: list[str] = []
    for node in ast.parse(line.removeprefix("$").strip()).body:
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
    return all(importlib.util.find_spec(name.partition(".")[0]) for name in names)


def _savers(after: Any, *, decided: bool) -> list[Any]:
    """Return what writes the prediction, made to write NIfTI; what writes other things goes.

    What turns probabilities into decisions goes too unless they shall be `decided`.
    """
    savers = []
    for holder in _holders(after):
        keep = [t for t in holder.transforms if not isinstance(t, SaveImaged) or "pred" in t.keys]
        keep = [t for t in keep if decided or not isinstance(t, AsDiscreted)]
        holder.transforms = type(holder.transforms)(keep)
        savers += [each for each in keep if isinstance(each, SaveImaged)]
    for saver in savers:
        at = saver.keys.index("pred")
        saver.keys, saver.meta_keys = ("pred",), (saver.meta_keys[at],)
        saver.meta_key_postfix = (saver.meta_key_postfix[at],)
        saver.saver.writers = (NibabelWriter,)
    return savers


def _holders(transform: Any) -> Iterator[Any]:
    if hasattr(transform, "transforms"):
        yield transform
        for each in transform.transforms:
            yield from _holders(each)


def _written(path: Path, spatial: int) -> tuple[Any, Any]:
    image: Any = nibabel.load(path)
    voxels = np.asarray(image.dataobj, dtype=np.float32)
    voxels = voxels.reshape(*voxels.shape[:spatial], -1)
    return np.moveaxis(voxels, -1, 0), image.affine


def _held(pred: Any, spatial: int) -> tuple[Any, Any]:
    if not isinstance(pred, MetaTensor) or pred.ndim != 1 + spatial:
        msg = f"its prediction is {type(pred).__name__} {tuple(getattr(pred, 'shape', ()))}"
        raise TypeError(msg)
    return pred.cpu().numpy().astype(np.float32), pred.affine.cpu().numpy()


def _ask(bundle: _Bundle, question: dict[str, Any]) -> dict[str, Any]:
    """Answer one question; arrays are (slice, row, column) and affines LPS, as in Wetread."""
    affine, images = np.array(question["affine"]), [np.load(path) for path in question["images"]]
    with tempfile.TemporaryDirectory(prefix="wetread-bundle-") as temporary:
        folder = Path(temporary)
        if bundle.planar:
            pred = _slice_by_slice(bundle, images[0], affine)
        else:
            given = [_saved(image, affine, folder / f"image-{n}") for n, image in enumerate(images)]
            pred, found = bundle.answer(given, folder)
            affine = affine if found is None else _LPS_TO_RAS @ found
    if bundle.classifies:
        pred = np.atleast_2d(pred)
    else:
        pred = pred.transpose(0, 1, 3, 2) if bundle.planar else pred.transpose(0, 3, 2, 1)
    np.save(question["result"], np.ascontiguousarray(pred))
    return {"affine": affine.tolist()}


def _slice_by_slice(bundle: _Bundle, voxels: Any, affine: Any) -> Any:
    """Return (slice, class), or (channel, slice, x, y) of slices that keep their size.

    A slice lies in a plane of its own: of its place in the patient only the spacing is left.
    """
    spacing = np.diag([*np.linalg.norm(affine[:3, :2], axis=0), 1.0, 1.0])
    answers = []
    for image in voxels:
        with tempfile.TemporaryDirectory(prefix="wetread-bundle-") as temporary:
            folder = Path(temporary)
            given = _saved(image, _LPS_TO_RAS @ spacing, folder / "image")
            answer, _ = bundle.answer([given], folder)
        if not bundle.classifies and answer.shape[1:] != image.T.shape:
            msg = f"it gave {answer.shape[1:]} for a slice of {image.T.shape}"
            raise ValueError(msg)
        answers.append(answer)
    return np.stack(answers, axis=0 if bundle.classifies else 1)


def _saved(voxels: Any, affine: Any, place: Path) -> Path:
    image = place.with_suffix(".nii")
    nibabel.save(nibabel.Nifti1Image(voxels.T, _LPS_TO_RAS @ affine), image)  # type: ignore[no-untyped-call]
    return image


def _own_scripts(folder: Path) -> None:
    """Let `scripts` mean the bundle's folder, also where it is no package."""
    sys.path.insert(0, str(folder))
    if (folder / "scripts").is_dir() and not (folder / "scripts" / "__init__.py").is_file():
        module = types.ModuleType("scripts")
        module.__path__ = [str(folder / "scripts")]
        sys.modules["scripts"] = module


def _say(answers: TextIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def main(arguments: list[str]) -> None:
    """Load the bundle, say so, and answer questions until standard input ends."""
    folder, config, how, device, threads = arguments
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a bundle prints must not get among the answers
    if int(threads):
        torch.set_num_threads(int(threads))
    _own_scripts(Path(folder))
    try:
        bundle = _Bundle(Path(config), how, device)
    except Exception as error:  # noqa: BLE001 - whatever a bundle does wrong is said to the parent
        _say(answers, {"error": _root(error)})
        return
    _say(answers, {"monai": monai.__version__})
    for line in sys.stdin:
        try:
            _say(answers, _ask(bundle, json.loads(line)))
        except Exception as error:  # noqa: BLE001 - the same
            _say(answers, {"error": _root(error)})


def _root(error: BaseException) -> str:
    """Return the first cause: MONAI wraps it in an error for each transform around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main(sys.argv[1:])
