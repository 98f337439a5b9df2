"""What a model needs of a stack, and whether a stack meets it: pure matching, with reasons."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from imaging.contrast import GIVEN, NOT_GIVEN, Contrast, contrast
from imaging.geometry import Grid, axis_codes
from imaging.header import InstanceHeader
from imaging.kernel import KERNELS, kernel_kind
from imaging.mr import DIMENSIONS, ECHOES, UNKNOWN, WEIGHTINGS, dimension, echo, weighting
from imaging.origin import ORIGINS, origin
from imaging.reasons import Reason, reason
from imaging.region import REGIONS, regions_of
from imaging.stack import Stack
from imaging.units import in_unit

_PLANES = {"S": "axial", "I": "axial", "A": "coronal", "P": "coronal", "L": "sagittal",
           "R": "sagittal"}  # fmt: skip
_ALONG = (
    ("LR", "from left to right"),
    ("AP", "from front to back"),
    ("SI", "from head to foot"),
)
# What may be asked for, by field of `Need`.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "regions": REGIONS,
    "orientations": ("axial", "coronal", "sagittal"),
    "weightings": WEIGHTINGS,
    "acquisitions": DIMENSIONS,
    "echoes": ECHOES,
    "kernels": KERNELS,
    "origins": ORIGINS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one input of a model must be. An empty tuple or ``None`` means: any.

    Attributes
    ----------
    modalities
        Values of Modality, e.g. ``("MR",)``.
    regions
        Body regions, one of which must be shown (`imaging.region`), e.g. ``("HEAD",)``.
    orientations
        Planes of the slices, the closest one counts: ``"axial"``, ``"coronal"``, ``"sagittal"``.
    weightings, acquisitions, echoes
        Of MR only (`imaging.mr`): contrast, ``"2D"`` or ``"3D"``, spin or gradient echo.
    kernels
        Of CT only (`imaging.kernel`): ``"soft"``, ``"bone"``, ``"lung"``.
    origins
        How the images came to be (`imaging.origin`), e.g. ``("primary", "reformatted")``.
    contrast
        Whether contrast medium must, must not or may have been given.
    unit
        UCUM unit that the values must be had in (`imaging.units`), e.g. ``"{SUVbw}g/ml"``.
    min_slices, max_slices
        Fewest slices that make sense, most that can be read.
    min_spacing_mm
        Least distance between slices.
    max_spacing_mm
        Largest distance between voxel centres along any axis.
    min_extent_mm
        Least size of the imaged block along each of its axes.
    min_coverage_mm
        Least size from left to right, front to back and head to foot, each along the axis of the
        block that runs closest to it.
    description
        Regular expression found in the description or the protocol of the series, case ignored.
    name, others
        Of a model of several inputs: what this one is called, and what the others must be, each of
        them another series of the same study.
    """

    modalities: tuple[str, ...]
    regions: tuple[str, ...] = ()
    orientations: tuple[str, ...] = ()
    weightings: tuple[str, ...] = ()
    acquisitions: tuple[str, ...] = ()
    echoes: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    contrast: Contrast = Contrast.ANY
    unit: str = ""
    min_slices: int = 1
    max_slices: int | None = None
    min_spacing_mm: float | None = None
    max_spacing_mm: float | None = None
    min_extent_mm: float | None = None
    min_coverage_mm: tuple[float, float, float] | None = None
    description: str = ""
    name: str = ""
    others: tuple["Need", ...] = ()


def misfits(need: Need, stack: Stack) -> tuple[Reason, ...]:
    """Return every way in which `stack` does not meet `need`; empty when it does."""
    header = stack.instances[0]
    found = [*_by_subject(need, header)]
    if header.series.modality == "MR":
        found += _by_sequence(need, header)
    if header.series.modality == "CT":
        found += _by_kernel(need, header)
    if isinstance(converted := in_unit(stack, need.unit), Reason):
        found.append(converted)
    return (*found, *_by_slices(need, stack.grid), *_by_size(need, stack.grid))


def plane(grid: Grid) -> str:
    """Return the plane closest to the slices: ``"axial"``, ``"coronal"`` or ``"sagittal"``."""
    return _PLANES[axis_codes(grid)[0]]


def _by_subject(need: Need, header: InstanceHeader) -> Iterator[Reason]:
    modality, regions = header.series.modality, regions_of(header)
    if need.modalities and modality not in need.modalities:
        yield reason("MODALITY", found=modality or UNKNOWN, needed=need.modalities)
    if need.regions and not set(regions) & set(need.regions):
        yield reason("REGION", found=", ".join(regions) or UNKNOWN, needed=need.regions)
    made = origin(header)
    if need.origins and made not in need.origins:
        yield reason("DERIVED", found=made, needed=need.origins)
    said = f"{header.series.description}\n{header.series.protocol}"
    if not re.search(need.description, said, re.IGNORECASE):
        yield reason("DESCRIPTION", needed=need.description)
    given, wanted = contrast(header), {Contrast.YES: GIVEN, Contrast.NO: NOT_GIVEN}
    if need.contrast in wanted and given != wanted[need.contrast]:
        yield reason("CONTRAST", found=given, needed=wanted[need.contrast])


def _by_sequence(need: Need, header: InstanceHeader) -> Iterator[Reason]:
    weighted, encoded, pulsed = weighting(header), dimension(header), echo(header)
    if need.weightings and weighted not in need.weightings:
        yield reason("WEIGHTING", found=weighted, needed=need.weightings)
    if need.acquisitions and encoded not in need.acquisitions:
        yield reason("ACQUISITION", found=encoded, needed=need.acquisitions)
    if need.echoes and pulsed not in need.echoes:
        yield reason("ECHO", found=pulsed, needed=need.echoes)


def _by_kernel(need: Need, header: InstanceHeader) -> Iterator[Reason]:
    kind = kernel_kind(header)
    if need.kernels and kind not in need.kernels:
        name = header.acquisition.kernel.replace("\\", " ")
        yield reason("KERNEL", found=kind, name=name or UNKNOWN, needed=need.kernels)


def _by_slices(need: Need, grid: Grid) -> Iterator[Reason]:
    count, apart = grid.shape[0], grid.spacing_mm[0]
    if need.orientations and plane(grid) not in need.orientations:
        yield reason("ORIENTATION", found=plane(grid), needed=need.orientations)
    if count < need.min_slices:
        yield reason("FEW_SLICES", count=count, least=need.min_slices)
    if need.max_slices is not None and count > need.max_slices:
        yield reason("MANY_SLICES", count=count, most=need.max_slices)
    if need.min_spacing_mm is not None and apart < need.min_spacing_mm:
        yield reason("SPACING_TOO_FINE", found_mm=apart, least_mm=need.min_spacing_mm)


def _by_size(need: Need, grid: Grid) -> Iterator[Reason]:
    widest, thinnest = max(grid.spacing_mm), min(grid.extent_mm)
    if need.max_spacing_mm is not None and widest > need.max_spacing_mm:
        yield reason("SPACING", found_mm=widest, most_mm=need.max_spacing_mm)
    if need.min_extent_mm is not None and thinnest < need.min_extent_mm:
        along = "across its thinnest side"
        yield reason("COVERAGE", along=along, found_mm=thinnest, least_mm=need.min_extent_mm)
    codes = axis_codes(grid)
    for (letters, along), least in zip(_ALONG, need.min_coverage_mm or (), strict=False):
        found = next(mm for mm, code in zip(grid.extent_mm, codes, strict=True) if code in letters)
        if found < least:
            yield reason("COVERAGE", along=along, found_mm=found, least_mm=least)
