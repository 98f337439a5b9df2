"""From the instances of a series to stacks: sorted, split, checked, or refused with a reason.

A stack is sound when its slices share one orientation, frame of reference and kind of image and
are evenly spaced (PS3.3 C.7.6.2.1.1). Anything else would give a wrong number with a confident
face, so it is refused before anything is measured. A series is split only where that leaves no
doubt: a slice that does not fit is never put aside so that the rest looks whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from imaging.differences import Difference, Headers, of_grid, of_kind, of_repetition, of_slabs
from imaging.geometry import Grid
from imaging.header import InstanceHeader
from imaging.loss import in_words
from imaging.nuclear import is_nuclear_picture
from imaging.picture import Picture, picture_of
from imaging.planning import is_planning, is_survey, scouts_among
from imaging.reasons import Reason, reason
from imaging.slices import (
    is_foreign,
    is_secondary_capture,
    is_two_dimensional,
    positions_of,
    why_no_slice,
)
from imaging.spacing import (
    Lean,
    Row,
    beyond,
    in_row,
    lean_of,
    missing_from,
    missing_slices,
    place_numbers,
    why_uneven,
)
from imaging.tilt import squared
from imaging.tolerances import DEFAULT, Tolerances


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """Slices of one series in order, on a regular orthogonal grid.

    Attributes
    ----------
    instances
        One header for each slice, in slice order; frames and tiles of one instance repeat its UID.
    grid
        Where the voxels of the volume are.
    source_grid
        Where the stored slices are, when they lean and had to be straightened; same slice numbers.
    name
        What this stack differs in from others of its series, e.g. "echo 2"; "" when it is alone.
    """

    instances: tuple[InstanceHeader, ...]
    grid: Grid
    source_grid: Grid | None = None
    name: str = ""
    notes: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unusable:
    """Images of one series that cannot be measured as a volume, and why; `name` as of a stack."""

    instances: tuple[InstanceHeader, ...]
    reason: Reason
    name: str = ""

    @property
    def picture(self) -> Picture | None:
        """What is known in the plane, when this is one acquired image."""
        first, alone = self.instances[0], len(self.instances) == 1
        cine = first.frame is None and first.image.frames > 1
        return picture_of(first) if alone and not cine and not is_foreign(first) else None


Part = Stack | Unusable


def stacks_of(
    headers: Sequence[InstanceHeader], tolerances: Tolerances = DEFAULT
) -> tuple[Part, ...]:
    """Return what the images of one series amount to: every image is in exactly one part.

    The order of `headers` does not matter. Localizers, captures and 2D images are set apart first:
    they often share a series with the slices they plan or show.
    """
    ordered = sorted(headers, key=lambda h: (h.instance_number or 0, h.instance_uid, h.part or 0))
    planning = [h for h in ordered if is_planning(h)]
    slices = [h for h in ordered if not is_planning(h) and not _stands_alone(h)]
    alone = [h for h in ordered if not is_planning(h) and _stands_alone(h)]
    scouts = scouts_among(slices)
    planning += scouts
    slices = [h for h in slices if not any(h is scout for scout in scouts)]
    parts: list[Part] = [*(_judged(tuple(slices), tolerances) if slices else ())]
    parts.extend(part for h in alone for part in _judged((h,), tolerances))
    if planning:
        why = reason("LOCALIZER", count=len(planning))
        parts.append(Unusable(instances=tuple(planning), reason=why))
    return tuple(parts)


def _stands_alone(header: InstanceHeader) -> bool:
    """Whether an image is judged by itself: captures and 2D images are, slices never."""
    unplaced = header.image.position is None or header.image.orientation is None
    picture = is_two_dimensional(header) or is_nuclear_picture(header)
    return picture or (is_secondary_capture(header) and unplaced)


def _judged(headers: Headers, tolerances: Tolerances) -> tuple[Part, ...]:
    """Return the parts of what may be one stack or several."""
    if why := _why_refused(headers, tolerances):
        return (Unusable(instances=headers, reason=why),)
    for difference in of_grid(headers, tolerances):
        parts = _apart(difference, tolerances)
        return parts or (Unusable(instances=headers, reason=_mixed(difference)),)
    if kinds := of_kind(headers):
        parts = _split(kinds, headers, tolerances)
        why = reason("MIXED_KIND", found=kinds.what)
        return parts or (Unusable(instances=headers, reason=why),)
    row = in_row(headers)
    return _repetitions(row, tolerances) or _slabs(row, tolerances)


def _repetitions(row: Row, tolerances: Tolerances) -> tuple[Part, ...]:
    """Return the parts of slices that repeat their places, if something tells them apart."""
    if len(set(place_numbers(row, tolerances))) == len(row.headers):
        return ()
    ways = of_repetition(row.headers, tolerances)
    return next((parts for way in ways if (parts := _split(way, row.headers, tolerances))), ())


def _slabs(row: Row, tolerances: Tolerances) -> tuple[Part, ...]:
    """Return the one stack that the slices are, or the slabs that were glued together."""
    part = _stack(row, tolerances)
    if isinstance(part, Stack):
        return (part,)
    ways = of_slabs(row, part.reason.code)
    return next((parts for way in ways if (parts := _apart(way, tolerances))), (part,))


def _why_refused(headers: Headers, tolerances: Tolerances) -> Reason | None:
    for header in headers:
        if why := why_no_slice(header, tolerances):
            return why
    people = _people(headers)
    if people > 1:
        return reason("MIXED_PATIENTS", count=people)
    return _cut_short(headers)


def _cut_short(headers: Headers) -> Reason | None:
    """Return that pieces of a multi-frame image are missing: at an end no gap would show it."""
    pieces = {h.concatenation for h in headers if h.concatenation}
    for piece in sorted(pieces, key=lambda p: (p.uid, p.number)):
        have = len({other.number for other in pieces if other.uid == piece.uid})
        if piece.total is not None and have < piece.total:
            return reason("INCOMPLETE_CONCATENATION", have=have, expected=piece.total)
    return None


def _people(headers: Headers) -> int:
    """Return how many patients the headers name; what is left empty contradicts nothing."""
    patients = [header.patient for header in headers]
    told = ({p.patient_id for p in patients}, {p.birth_date for p in patients})
    ids, births = (values - {""} for values in told)
    names = {p.name.rstrip("^ ").casefold() for p in patients} - {""}
    return max(len(ids), len(births), 1 if ids else len(names))


# Splitting


def _apart(difference: Difference, tolerances: Tolerances) -> tuple[Part, ...]:
    """Return the parts on several grids, if each is sound; else none."""
    if is_survey(difference):
        slices = tuple(h for group in difference.groups for h in group.headers)
        return (Unusable(instances=slices, reason=reason("LOCALIZER", count=len(slices))),)
    parts = _named(difference, tolerances)
    return parts if all(isinstance(part, Stack) for part in parts) else ()


def _split(difference: Difference, headers: Headers, tolerances: Tolerances) -> tuple[Part, ...]:
    """Return the parts that share places, if that is sure; else none.

    It is sure when each part is sound, or when one of them is and holds every place there is: a
    slice that strayed into another group would leave its own one short.
    """
    whole = in_row(headers)
    parts = _named(difference, tolerances)
    sound = [part for part in parts if isinstance(part, Stack)]
    complete = any(
        not len(missing_from(in_row(part.instances), whole, tolerances)) for part in sound
    )
    if len(sound) < len(parts) and not complete:
        return ()
    if not difference.same_places:
        return parts
    return tuple(_if_complete(part, whole, tolerances) for part in parts)


def _named(difference: Difference, tolerances: Tolerances) -> tuple[Part, ...]:
    return tuple(
        replace(part, name=", ".join(filter(None, (group.name, part.name))))
        for group in difference.groups
        for part in _judged(group.headers, tolerances)
    )


def _if_complete(part: Part, whole: Row, tolerances: Tolerances) -> Part:
    """Refuse a stack that ends before its like do: slices are missing, though none between."""
    if isinstance(part, Unusable):
        return part
    row = in_row(part.instances)
    if not len(missing := beyond(row, whole, tolerances)):
        return part
    why = missing_slices(row, missing)
    return Unusable(instances=part.instances, reason=why, name=part.name)


def _mixed(difference: Difference) -> Reason:
    groups = len(difference.groups)
    match difference.what:
        case "frame of reference":
            return reason("MIXED_FRAME_OF_REFERENCE", count=groups)
        case "orientation":
            return reason("MIXED_ORIENTATION", count=groups)
        case "matrix":
            sizes = ", ".join(sorted(group.name for group in difference.groups))
            return reason("MIXED_SIZE", found=sizes)
        case _:
            return reason("MIXED_SPACING")


# One stack


def _stack(row: Row, tolerances: Tolerances) -> Part:
    if why := why_uneven(row, tolerances):
        return Unusable(instances=row.headers, reason=why)
    lean = lean_of(row)
    if why := _why_crooked(row, lean, tolerances):
        return Unusable(instances=row.headers, reason=why)
    source = _grid(row)
    leans = lean.angle_deg > tolerances.square_deg and lean.shift_mm > _beside_mm(row, tolerances)
    grid = squared(source) if leans else source
    return Stack(
        instances=row.headers,
        grid=grid,
        source_grid=source if leans else None,
        notes=tuple(_notes(row, lean.angle_deg if leans else 0.0, tolerances)),
    )


def _why_crooked(row: Row, lean: Lean, tolerances: Tolerances) -> Reason | None:
    if lean.angle_deg > tolerances.most_tilt_deg:
        return reason("TILTED", angle_deg=lean.angle_deg)
    if lean.astray_mm > _beside_mm(row, tolerances):
        return reason("NOT_ALIGNED", astray_mm=lean.astray_mm)
    return None


def _beside_mm(row: Row, tolerances: Tolerances) -> float:
    """Return how far a slice may lie beside its place: what rounding of positions does."""
    pixel_mm = min(row.headers[0].image.pixel_spacing_mm or (0.0,))
    return max(tolerances.uneven_mm, tolerances.beside_fraction * pixel_mm)


def _grid(row: Row) -> Grid:
    first = row.headers[0].image
    between_rows, between_columns = first.pixel_spacing_mm or (1.0, 1.0)
    positions = positions_of((row.headers[0], row.headers[-1]))
    column, row_axis = np.array(first.orientation).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0] = column / np.linalg.norm(column) * between_columns
    affine[:3, 1] = row_axis / np.linalg.norm(row_axis) * between_rows
    affine[:3, 2] = (positions[1] - positions[0]) / (len(row.headers) - 1)
    affine[:3, 3] = positions[0]
    return Grid(
        shape=(len(row.headers), first.rows or 0, first.columns or 0),
        affine=affine,
        frame_of_reference_uid=first.frame_of_reference_uid,
    )


def _notes(row: Row, angle_deg: float, tolerances: Tolerances) -> Iterator[Reason]:
    """Yield what was corrected, and what the header says that the positions do not."""
    gap_mm, image = row.gap_mm, row.headers[0].image
    if losses := [header.image.loss for header in row.headers if header.image.loss]:
        yield reason("LOSSY_INPUT", found=in_words(losses))
    if angle_deg:
        yield reason("TILT_CORRECTED", angle_deg=angle_deg)
    if image.step_from:
        yield reason("SPACING_FROM_HEADER", attribute=image.step_from, spacing_mm=gap_mm)
    claim_mm = abs(image.slice_spacing_mm or gap_mm)
    if abs(claim_mm - gap_mm) > max(tolerances.spacing_claim * gap_mm, tolerances.same_place_mm):
        yield reason("SPACING_CONTRADICTED", header_mm=claim_mm, used_mm=gap_mm)
    thickness_mm = image.slice_thickness_mm or gap_mm
    if thickness_mm > (1 + tolerances.spacing_claim) * gap_mm:
        yield reason("OVERLAPPING_SLICES", thickness_mm=thickness_mm, spacing_mm=gap_mm)
