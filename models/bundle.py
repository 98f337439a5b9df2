"""A MONAI bundle as the Model Zoo publishes it: what its files say, read without torch or MONAI."""

import json
import math
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imaging.errors import PackageInvalid

METADATA = "configs/metadata.json"
_CONFIGS = ("configs/inference.json", "configs/inference.yaml", "configs/inference.yml")
_MOST_UNPACKED = 8 * 2**30
_BACKGROUND = "background"
_CLASSES = {"labels", "classes", "classification", "class", "probabilities"}
_PLANE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """One input or output of the network: what it holds, and a name for each channel number."""

    form: str
    modality: str
    count: int
    dimensions: int
    names: Mapping[int, str]

    @property
    def classifies(self) -> bool:
        """Whether, of an output, each channel is a class of the whole image."""
        return self.form in _CLASSES

    def images(self, key: str) -> tuple[str, ...]:
        """Return a name for each channel of an input that is called `key`."""
        if self.count <= 1:
            return (key,)
        return tuple(self.names.get(at, f"{key} {at + 1}") for at in range(self.count))

    @property
    def structures(self) -> dict[int, str]:
        """The names of channels without the background."""
        return {at: name for at, name in self.names.items() if name.lower() != _BACKGROUND}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What `metadata.json` says, and which configuration runs the network."""

    folder: Path
    config: Path
    texts: Mapping[str, str]
    figures: Mapping[str, str]
    inputs: Mapping[str, Channels]
    outputs: Mapping[str, Channels]

    @property
    def images(self) -> tuple[str, ...]:
        """The names of the images that are read together, one for each channel of each input."""
        return tuple(name for key, each in self.inputs.items() for name in each.images(key))

    @property
    def turns(self) -> bool:
        """Whether its configuration turns images to axes of its own."""
        return "Orientation" in self.config.read_text(encoding="utf-8", errors="replace")

    @property
    def planar(self) -> bool:
        """Whether the network reads single slices."""
        return any(each.dimensions == _PLANE for each in self.inputs.values())

    @property
    def classifies(self) -> bool:
        """Whether the answer is a class, not an outline."""
        return self.outputs["pred"].classifies


def is_bundle(folder: Path) -> bool:
    """Whether `folder` is laid out as a bundle."""
    return (folder / METADATA).is_file()


def read_bundle(folder: Path) -> Bundle:
    """Return the bundle in `folder`.

    Raises
    ------
    PackageInvalid
        The message names every part that is missing, and everything that is not supported.
    """
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        msg = f"{METADATA} cannot be read: {error}"
        raise PackageInvalid(msg) from error
    formats = _table(_table(metadata).get("network_data_format"))
    config = next((name for name in _CONFIGS if (folder / name).is_file()), "")
    bundle = Bundle(
        folder=folder,
        config=folder / config,
        texts={key: value for key, value in _table(metadata).items() if isinstance(value, str)},
        figures={k: str(v) for k, v in _table(_table(metadata).get("eval_metrics")).items()},
        inputs=_all_channels(formats.get("inputs")),
        outputs=_all_channels(formats.get("outputs")),
    )
    if problems := [*_lacks(bundle, config), *_not_supported(bundle)]:
        raise PackageInvalid("\n".join(problems))
    return bundle


def _lacks(bundle: Bundle, config: str) -> Iterator[str]:
    if not config:
        yield f"none of {', '.join(_CONFIGS)} is there"
    weights = (bundle.folder / "models").glob("*")
    if not any(path.suffix in {".pt", ".ts"} for path in weights):
        yield "the weights are missing: models/model.pt or models/model.ts"
    if "pred" not in bundle.outputs:
        yield f"{METADATA} has no network_data_format.outputs.pred"


def _not_supported(bundle: Bundle) -> Iterator[str]:
    for name, each in bundle.inputs.items():
        if each.count > 1 and (each.form == "rgb" or each.dimensions == _PLANE):
            wanted = ", ".join(each.images(name))
            yield f"a slice or picture of several channels is not supported: {name} ({wanted})"
    pred = bundle.outputs.get("pred")
    if pred and pred.form != "segmentation" and not pred.classifies:
        yield f"an output of the format {pred.form!r} is not supported: segmentation or classes"


def _all_channels(content: object) -> dict[str, Channels]:
    return {name: _channels(_table(value)) for name, value in _table(content).items()}


def _channels(content: Mapping[str, object]) -> Channels:
    names = {
        int(at): str(name) for at, name in _table(content.get("channel_def")).items()
        if at.isdecimal()
    }  # fmt: skip
    count = content.get("num_channels", len(names))
    shape = content.get("spatial_shape")
    return Channels(
        form=str(content.get("format", "")).lower(),
        modality=str(content.get("modality", "")),
        count=count if isinstance(count, int) else len(names),
        dimensions=len(shape) if isinstance(shape, list) else 0,
        names=names,
    )


def _table(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


@contextmanager
def unpacked(source: Path) -> Iterator[Path]:
    """Give the folder of a package: `source` itself or, of a zip, what it holds, for a while.

    Raises
    ------
    PackageInvalid
        The zip is damaged, too large, or names files outside its folder.
    """
    if source.is_dir() or not zipfile.is_zipfile(source):
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="wetread-package-") as temporary:
        folder = Path(temporary)
        _unzip(source, folder)
        roots = [path.parent.parent for path in sorted(folder.rglob(METADATA))]
        roots += [path.parent for path in sorted(folder.rglob("model.toml"))]
        yield roots[0] if roots else folder


def _unzip(source: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            if math.fsum(item.file_size for item in archive.infolist()) > _MOST_UNPACKED:
                msg = f"{source.name} is larger than 8 GB when it is unpacked"
                raise PackageInvalid(msg)
            archive.extractall(folder)  # names that lead out of the folder are kept inside it
    except (zipfile.BadZipFile, OSError) as error:
        msg = f"{source.name} cannot be unpacked: {error}"
        raise PackageInvalid(msg) from error
