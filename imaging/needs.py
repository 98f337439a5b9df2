"""What a model needs of a stack, and whether a stack meets it: pure matching, with reasons."""

from dataclasses import dataclass

from imaging.header import InstanceHeader
from imaging.reasons import Reason
from imaging.stack import Stack

# Words that name a region in descriptions and in Body Part Examined (PS3.16 Annex L, common use).
_REGION_WORDS = {
    "HEAD": ("head", "brain", "skull", "cranium", "kopf", "schädel", "cerveau", "crane", "cabeza",
             "cerebro", "头", "脑", "颅", "neuro"),
    "CHEST": ("chest", "thorax", "lung", "胸", "肺"),
    "ABDOMEN": ("abdomen", "liver", "abdo", "腹", "肝"),
}  # fmt: skip
_SHORT_TR_MS, _SHORT_TE_MS, _LONG_TE_MS, _INVERSION_T1_MS = 1200.0, 30.0, 60.0, 1400.0
_DIFFUSION_WORDS = ("dwi", "adc", "dti", "diff", "trace")
_OTHER_WORDS = ("asl", "perf", "bold", "tof", "swi", "fieldmap", "phase")


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one input of a model must be. An empty tuple or ``None`` means: any.

    Attributes
    ----------
    modalities
        Values of Modality, e.g. ``("MR",)``.
    regions
        Body regions, e.g. ``("HEAD",)``.
    weightings
        MR contrast, as `weighting` names it, e.g. ``("T1",)``.
    min_slices
        Fewest slices that make sense.
    max_spacing_mm
        Largest distance between voxel centres along any axis.
    min_extent_mm
        Least size of the imaged block along each patient axis.
    """

    modalities: tuple[str, ...]
    regions: tuple[str, ...] = ()
    weightings: tuple[str, ...] = ()
    min_slices: int = 1
    max_spacing_mm: float | None = None
    min_extent_mm: float | None = None


def misfits(need: Need, stack: Stack) -> tuple[Reason, ...]:
    """Return every way in which `stack` does not meet `need`; empty when it does."""
    header = stack.instances[0]
    found = [
        _modality(need, header),
        _region(need, header),
        _weighting(need, header),
        _slices(need, stack),
        _spacing(need, stack),
        _extent(need, stack),
    ]
    return tuple(reason for reason in found if reason)


def region(header: InstanceHeader) -> str:
    """Return the body region in upper case, or "" when the header does not tell."""
    series = header.series
    return region_named(
        series.body_part, series.description, series.protocol, header.study.description
    )


def region_named(body_part: str, *descriptions: str) -> str:
    """Return the body region in upper case, or "" when nothing tells.

    Body Part Examined decides; without it, words in the descriptions do, in the order given.
    """
    for text in (body_part, *descriptions):
        words = text.lower()
        for name, known in _REGION_WORDS.items():
            if any(word in words for word in known):
                return name
        if text and text == body_part:
            return text.upper()
    return ""


def weighting(header: InstanceHeader) -> str:
    """Return the MR contrast: T1, T2, PD, FLAIR, DWI, OTHER, or "" when the header does not tell.

    Timing decides, words only rule out and fill in: a name is what someone typed, TR and TE are
    what the scanner did.
    """
    a = header.acquisition
    words = f"{header.series.description} {header.series.protocol} {a.sequence_name}".lower()
    if a.b_value or "DIFFUSION" in a.image_type or any(w in words for w in _DIFFUSION_WORDS):
        return "DWI"
    if any(w in words for w in _OTHER_WORDS) or "PERFUSION" in a.image_type:
        return "OTHER"
    if a.repetition_time_ms is None or a.echo_time_ms is None:
        return next((w.upper() for w in ("flair", "t1", "t2", "pd") if w in words), "")
    return _by_timing(
        a.repetition_time_ms,
        a.echo_time_ms,
        ti=a.inversion_time_ms,
        sequence=a.scanning_sequence,
    )


def _by_timing(tr: float, te: float, *, ti: float | None, sequence: tuple[str, ...]) -> str:
    inverted = "IR" in sequence or bool(ti)
    if "EP" in sequence:
        return "OTHER"
    if te >= _LONG_TE_MS:
        return "FLAIR" if inverted and (ti or 0) > _INVERSION_T1_MS else "T2"
    if te < _SHORT_TE_MS and (
        tr <= _SHORT_TR_MS or (inverted and 0 < (ti or 0) <= _INVERSION_T1_MS)
    ):
        return "T1"
    return "PD" if te < _SHORT_TE_MS else "OTHER"


def _modality(need: Need, header: InstanceHeader) -> Reason | None:
    found = header.series.modality
    if not need.modalities or found in need.modalities:
        return None
    return Reason(
        code="MODALITY", text=f"modality is {found or 'absent'}, not {_any(need.modalities)}"
    )


def _region(need: Need, header: InstanceHeader) -> Reason | None:
    found = region(header)
    if not need.regions or found in need.regions:
        return None
    what = f"body region is {found}" if found else "the header does not tell the body region"
    return Reason(code="REGION", text=f"{what}; {_any(need.regions)} is needed")


def _weighting(need: Need, header: InstanceHeader) -> Reason | None:
    if not need.weightings or header.series.modality != "MR":
        return None
    found = weighting(header)
    if found in need.weightings:
        return None
    what = f"MR contrast is {found}" if found else "the header does not tell the MR contrast"
    return Reason(code="WEIGHTING", text=f"{what}; {_any(need.weightings)} is needed")


def _slices(need: Need, stack: Stack) -> Reason | None:
    count = stack.grid.shape[0]
    if count >= need.min_slices:
        return None
    return Reason(code="FEW_SLICES", text=f"{count} slices; at least {need.min_slices} are needed")


def _spacing(need: Need, stack: Stack) -> Reason | None:
    widest = max(stack.grid.spacing_mm)
    if need.max_spacing_mm is None or widest <= need.max_spacing_mm:
        return None
    text = f"voxels are {widest:.2f} mm apart; at most {need.max_spacing_mm:.2f} mm is needed"
    return Reason(code="SPACING", text=text)


def _extent(need: Need, stack: Stack) -> Reason | None:
    smallest = min(stack.grid.extent_mm)
    if need.min_extent_mm is None or smallest >= need.min_extent_mm:
        return None
    text = f"the block is {smallest:.0f} mm thick; at least {need.min_extent_mm:.0f} mm is needed"
    return Reason(code="COVERAGE", text=text)


def _any(names: tuple[str, ...]) -> str:
    return " or ".join(names)
