"""`wetread models new`: a `model.toml` for a network as it was published, as far as it says it."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from imaging.errors import Conflict, PackageInvalid
from models.bundle import is_bundle, read_bundle, unpacked
from models.bundle_card import bundle_card, package_name
from models.card import Card, card_text, placeholders
from models.manifest_file import FILE_NAME
from models.onnx_file import SCALINGS, Network, read_network, technical_text
from serving.commands.tables import output


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What was said on the command line; what is None is asked, or taken as it is likely.

    Attributes
    ----------
    names
        Of what the network tells apart, without background, separated by commas.
    ask
        Whether a person is there who may be asked.
    """

    name: str | None = None
    modality: str | None = None
    region: str | None = None
    axes: str | None = None
    scaling: str | None = None
    names: str | None = None
    ask: bool = False


def new_model(path: Path, folder: Path | None, answers: Answers) -> int:
    """Write a package for an ONNX file, or a `model.toml` for a MONAI bundle."""
    console = output()
    if path.suffix == ".onnx":
        target, card = _from_onnx(path, folder, answers)
    else:
        target, card = _from_bundle(path, folder)
    text = card_text(card)
    (target / FILE_NAME).write_text(text, encoding="utf-8")
    _print_next(console, target, text)
    return 0


def _from_bundle(path: Path, folder: Path | None) -> tuple[Path, Card]:
    with unpacked(path) as source:
        if not is_bundle(source):
            msg = f"{path} is neither an ONNX file nor a MONAI bundle with configs/metadata.json"
            raise PackageInvalid(msg)
        card = bundle_card(read_bundle(source))
        target = folder or (path if path.is_dir() else Path(card.name))
        _require_free(target)
        if target.resolve() != source.resolve():
            shutil.copytree(source, target)
    return target, card


def _from_onnx(path: Path, folder: Path | None, answers: Answers) -> tuple[Path, Card]:
    network = read_network(path)
    card = _onnx_card(path, network, answers)
    target = folder or Path(card.name)
    _require_free(target)
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target / "model.onnx")
    for name in network.files:  # weights beside; the network names them
        shutil.copyfile(path.parent / name, target / name)
    return target, card


def _require_free(target: Path) -> None:
    if (target / FILE_NAME).exists():
        msg = f"{target / FILE_NAME} is there already"
        raise Conflict(msg)


def _onnx_card(path: Path, network: Network, answers: Answers) -> Card:
    def said(given: str | None, question: str, likely: str) -> str:
        if given is None and answers.ask:
            given = input(f"{question} [{likely}] ")
        return given or likely

    name = package_name(said(answers.name, "Name of the package", path.stem))
    modality = said(answers.modality, "Modality of its images", "").upper()
    region = said(answers.region, "Body region, e.g. HEAD; empty means any", "").upper()
    likely = "SPL" if len(network.image_shape) == _PLANE else "RAS"
    axes = said(answers.axes, "Where the array axes point, e.g. RAS or SPL", likely).upper()
    usual = "range" if modality == "CT" else "zscore"
    scaling = said(answers.scaling, f"Intensities ({', '.join(SCALINGS)})", usual)
    if scaling not in SCALINGS:
        msg = f"{scaling!r} is none of {', '.join(SCALINGS)}"
        raise PackageInvalid(msg)
    question = f"Names of its {network.answers} outputs, with commas"
    names = said(answers.names, question, "")
    return Card(
        name=name,
        version="1.0.0",
        title=name.replace("-", " ").capitalize(),
        manufacturer="",
        task=network.task,
        intended_use="",
        licence="",
        source="",
        modalities=[modality] if modality else [],
        regions=[region] if region else [],
        answers=_named(network, [each.strip() for each in names.split(",") if each.strip()]),
        evaluation={},
        technical=technical_text(network, axes, scaling),
        inputs=[port.name for port in network.inputs] if len(network.inputs) > 1 else (),
    )


_PLANE = 2


def _named(network: Network, names: Sequence[str]) -> dict[int, str]:
    """Return the outputs by number; of several channels the first is background if names lack."""
    count = network.answers
    if network.task == "classification":
        count = max(count, _PLANE)  # one number tells two apart
        return {at: names[at] if at < len(names) else f"REPLACE: class {at}" for at in range(count)}
    first = 1 if count > 1 and len(names) != count else 0
    given = dict(enumerate(names, start=first))
    return {at: given.get(at, f"REPLACE: channel {at}") for at in range(first, count)}


def person_is_there() -> bool:
    """Whether somebody sits at a terminal who can be asked."""
    return sys.stdin.isatty()


def _print_next(console: Console, target: Path, text: str) -> None:
    console.print(f"wrote {target / FILE_NAME}", highlight=False)
    if left := placeholders(text):
        console.print("still to be filled in:", *left, sep="\n  ", markup=False, highlight=False)
    console.print(f"then: wetread models add {target}", highlight=False)
