"""The `model.toml` of a MONAI bundle, as far as its metadata says it."""

import re
from collections.abc import Mapping

from imaging.region import REGIONS
from models.bundle import Bundle
from models.card import Card

_MODALITIES = {"MRI": "MR", "CT": "CT", "PET": "PT", "XRAY": "CR", "X-RAY": "CR"}
_ABDOMEN = ("spleen", "liver", "kidney", "pancreas", "stomach", "gallbladder", "renal", "hepatic")
_WORDS = {
    "HEAD": ("brain", "hippocamp", "head", "brats"),
    "CHEST": ("lung", "cardiac", "ventric", "heart", "chest"),
    "ABDOMEN": _ABDOMEN,
    "PELVIS": ("prostate", "bladder", "uterus"),
    "BREAST": ("breast",),
}

_AS_MONAI = """
[input]  # the bundle does not turn images itself: axes (x, y, z) of what it was trained on
axes = "LPS"
"""


def bundle_card(bundle: Bundle) -> Card:
    """Return what `bundle` says of itself."""
    texts = bundle.texts
    title = texts.get("name") or texts.get("task") or bundle.folder.name
    pred = bundle.outputs["pred"]
    structures = dict(pred.names) if pred.classifies else pred.structures
    return Card(
        name=package_name(title),
        version=texts.get("version", ""),
        title=title,
        manufacturer=texts.get("authors", ""),
        task="classification" if pred.classifies else "segmentation",
        intended_use=texts.get("intended_use", ""),
        licence=_licence(bundle),
        source=texts.get("data_source", "") or "MONAI Model Zoo",
        modalities=_modalities(bundle),
        regions=regions_in({**texts, **{str(at): name for at, name in structures.items()}}),
        answers=structures,
        evaluation=bundle.figures,
        technical="" if bundle.planar or bundle.turns else _AS_MONAI,
        inputs=bundle.images if len(bundle.images) > 1 else (),
    )


def package_name(title: str) -> str:
    """Return `title` as the name of a package."""
    name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return (name if name[:1].isalpha() else f"model-{name}")[:48].rstrip("-")


def regions_in(texts: Mapping[str, str]) -> list[str]:
    """Return the body region that texts speak of, if it is one alone."""
    said = " ".join(texts.get(key, "") for key in ("name", "task", "1", "2", "3")).lower()
    found = [region for region, words in _WORDS.items() if any(word in said for word in words)]
    return [region for region in found if region in REGIONS] if len(found) == 1 else []


def _modalities(bundle: Bundle) -> list[str]:
    said = [channels.modality.upper() for channels in bundle.inputs.values()]
    known = [_MODALITIES.get(each, each) for each in said]
    return [each for each in known if re.fullmatch(r"[A-Z]{2}", each)]


def _licence(bundle: Bundle) -> str:
    """Return the name of the licence beside a bundle, where its first lines tell."""
    for file in sorted(bundle.folder.glob("LICENSE*")):
        start = file.read_text(encoding="utf-8", errors="replace")[:400]
        if "Apache License" in start:
            return "Apache-2.0"
        return next((line.strip() for line in start.splitlines() if line.strip()), "")
    return bundle.texts.get("copyright", "")
