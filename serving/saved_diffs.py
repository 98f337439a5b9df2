"""What a saved segmentation or report makes of our findings: matched, compared, never guessed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from imaging.attributes import items, number, text, vector
from imaging.codes import MILLILITRE, VOLUME, Code, Unit
from imaging.findings import Measurement
from imaging.mask_comparison import Overlap, overlap
from imaging.partners import Named, Partners, partners
from imaging.reasons import Reason, reason
from imaging.saved_report import AREA, SQUARE_MILLIMETRE, Group, Outline, changed, groups_of
from imaging.seg_masks import SegmentMasks
from serving.records import FindingRecord, MeasurementRecord, code_record, reason_record
from serving.saved_objects import Change, SavedMatch

_FREE_TEXT = "CORNERSTONEFREETEXT"  # how a widely used viewer codes what a reader typed
_EVIDENCE = ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ours:
    """A finding with what states it: the masks of its segment, its groups in our report.

    `pixel_mm2` is the area of a pixel by image; `may_be_named` says whether it was there when the
    object was saved, so that a name may mean it.
    """

    finding: FindingRecord
    masks: SegmentMasks | None
    group: Group | None
    pixel_mm2: Mapping[str, float]
    may_be_named: bool


def segmentation_matches(
    theirs: SegmentMasks, ours: Sequence[Ours], series_of: Mapping[str, str]
) -> tuple[SavedMatch, ...]:
    """Compare the segments of a saved object; `series_of` is the series of each image."""
    mine = [our for our in ours if _segment(our)]
    lies_on = _series_of_segmentation(theirs.dataset, series_of)
    saved = [
        Named(
            key=str(number),
            tracking_uid=segment.tracking_uid,
            label=segment.label,
            codes=frozenset({segment.code} - {("", "")}),
            series=lies_on,
        )
        for number, segment in theirs.segments.items()
    ]
    found = partners([_named(our) for our in mine], saved)
    by_uid = {our.finding.tracking_uid: our for our in mine}
    return tuple(
        _compared(theirs, by_uid[uid], match, as_segment=int(each.key))
        if (uid := match.tracking_uid) and not match.why
        else match
        for each in saved
        for match in [_match(each, found, by_uid)]
    )


def report_matches(
    ds: Dataset, ours: Sequence[Ours], series_of: Mapping[str, str]
) -> tuple[SavedMatch, ...]:
    """Compare the measurement groups of a saved report."""
    groups = {group.tracking_uid or f"#{n}": group for n, group in enumerate(groups_of(ds))}
    evidence = _series_of_report(ds)
    saved = [
        Named(
            key=key,
            tracking_uid=group.tracking_uid,
            label=group.finding.meaning if group.finding else "",
            codes=frozenset({(group.finding.value, group.finding.scheme)})
            if group.finding
            else frozenset(),
            series=frozenset(series_of[uid] for uid in group.image_uids if uid in series_of)
            or evidence,
        )
        for key, group in groups.items()
    ]
    found = partners([_named(our) for our in ours], saved)
    by_uid = {our.finding.tracking_uid: our for our in ours}
    return tuple(
        _diffed(groups[each.key], by_uid[uid], match)
        if (uid := match.tracking_uid) and not match.why
        else match
        for each in saved
        for match in [_match(each, found, by_uid)]
    )


def _match(saved: Named, found: Partners, ours: Mapping[str, Ours]) -> SavedMatch:
    """Return which finding is meant; without one the match stands for what is the reader's own."""
    if saved.key in found.tracked:
        uid = found.tracked[saved.key]
        return SavedMatch(tracking_uid=uid, label=saved.label, by="tracking UID")
    named = found.named.get(saved.key)
    if named and ours[named].may_be_named:
        return SavedMatch(tracking_uid=named, label=saved.label, by="label or code")
    unclear = saved.key in found.ambiguous
    why = reason_record(reason("SAVED_AMBIGUOUS")) if unclear else None
    return SavedMatch(tracking_uid="", label=saved.label, why=why)


def _named(our: Ours) -> Named:
    finding, segment = our.finding, _segment(our)
    codes = {(finding.code.value, finding.code.scheme)} if finding.code else set()
    if segment and our.masks:
        codes.add(our.masks.segments[segment].code)
    label = our.masks.segments[segment].label if segment and our.masks else finding.concept
    return Named(
        key=finding.tracking_uid,
        tracking_uid=finding.tracking_uid,
        label=label,
        codes=frozenset(codes),
        series=frozenset({finding.series_uid}),
    )


def _segment(our: Ours) -> int | None:
    """Return the number of the finding's segment, if there is one."""
    number = our.finding.segment_number
    return number if our.masks and number in our.masks.segments else None


# Segmentations


def _compared(theirs: SegmentMasks, our: Ours, match: SavedMatch, *, as_segment: int) -> SavedMatch:
    mine, segment = our.masks, _segment(our)
    assert mine is not None
    assert segment is not None
    found = overlap(mine, theirs, segment=segment, as_segment=as_segment)
    if isinstance(found, Reason):
        return match.model_copy(update={"why": reason_record(found)})
    same = found.ours == found.theirs == found.both
    changes = () if same else _volumes(our, found)
    return match.model_copy(update={"dice": found.dice, "changes": changes, "corrects": not same})


def _volumes(our: Ours, found: Overlap) -> tuple[Change, ...]:
    """Return the change of volume; both lie on the same voxels."""
    stated = next((m for m in our.finding.measurements if m.name == VOLUME.meaning), None)
    voxel_ml = stated.value / found.ours if stated and found.ours else _voxel_ml(our)
    if voxel_ml is None:
        return ()
    before = stated.value if stated else found.ours * voxel_ml
    after = MeasurementRecord(
        name=VOLUME.meaning,
        code=code_record(VOLUME),
        value=found.theirs * voxel_ml,
        unit=MILLILITRE.value,
    )
    return (Change(before=before, after=after),)


def _voxel_ml(our: Ours) -> float | None:
    assert our.masks is not None
    for place in items(our.masks.dataset, "SharedFunctionalGroupsSequence"):
        for measures in items(place, "PixelMeasuresSequence"):
            spacing = vector(measures, "PixelSpacing", 2)
            depth = number(measures, "SpacingBetweenSlices")
            return math.prod(spacing) * depth / 1000 if spacing and depth else None
    return None


def _series_of_segmentation(ds: Dataset, series_of: Mapping[str, str]) -> frozenset[str]:
    named = {text(item, "SeriesInstanceUID") for item in items(ds, "ReferencedSeriesSequence")}
    if named:
        return frozenset(named)
    keys = (key.partition("#")[0] for key in SegmentMasks(dataset=ds).image_keys)
    return frozenset(series_of[uid] for uid in keys if uid in series_of)


# Reports


def _diffed(theirs: Group, our: Ours, match: SavedMatch) -> SavedMatch:
    mine = [
        Measurement(
            name=Code(m.code.value, m.code.scheme, m.name),
            value=m.value,
            unit=Unit(m.unit, m.unit),
        )
        for m in our.finding.measurements
        if m.code
    ]
    stated = {(m.name.value, m.name.scheme, m.unit.value): m.value for m in mine}
    keys = {(m.name.value, m.name.scheme, m.unit.value) for m in theirs.measurements}
    outlined = bool(our.group and our.group.outlines and theirs.outlines)
    if not (outlined or keys & stated.keys()):
        return match.model_copy(update={"why": reason_record(reason("SAVED_NOTHING"))})
    changes = [
        Change(
            before=stated[m.name.value, m.name.scheme, m.unit.value],
            after=_record(m),
        )
        for m in changed(tuple(mine), theirs.measurements)
    ]
    moved = outlined and our.group is not None and not _same_outline(our.group, theirs)
    if moved:
        changes += _areas(our, theirs)
    instead = _instead(our.finding, theirs) if match.by == "tracking UID" else None
    return match.model_copy(
        update={
            "changes": tuple(changes),
            "instead": code_record(instead),
            "corrects": bool(changes or moved or instead),
        }
    )


def _same_outline(ours: Group, theirs: Group) -> bool:
    return any(mine.is_same(their) for mine in ours.outlines for their in theirs.outlines)


def _areas(our: Ours, theirs: Group) -> list[Change]:
    """Return the area within the outline before and after, where both can be said."""
    assert our.group is not None
    measured = [m for m in theirs.measurements if _is_area(m)]
    after = measured[0].value if measured else _area(our, theirs.outlines[0])
    if after is None:
        return []
    area = Measurement(name=AREA, value=after, unit=SQUARE_MILLIMETRE)
    return [Change(before=_area(our, our.group.outlines[0]), after=_record(area))]


def _is_area(measured: Measurement) -> bool:
    same = (measured.name.value, measured.name.scheme) == (AREA.value, AREA.scheme)
    return same and measured.unit.value == SQUARE_MILLIMETRE.value


def _area(our: Ours, outline: Outline) -> float | None:
    pixels, pixel_mm2 = outline.pixels, our.pixel_mm2.get(outline.image_uid)
    return None if pixels is None or pixel_mm2 is None else pixels * pixel_mm2


def _instead(finding: FindingRecord, theirs: Group) -> Code | None:
    """Return what else it is, where the reader coded it otherwise."""
    code = theirs.finding
    if code is None or finding.code is None or code.value == _FREE_TEXT:
        return None
    same = (code.value, code.scheme) == (finding.code.value, finding.code.scheme)
    return None if same else code


def _record(measured: Measurement) -> MeasurementRecord:
    return MeasurementRecord(
        name=measured.name.meaning,
        code=code_record(measured.name),
        value=measured.value,
        unit=measured.unit.value,
    )


def _series_of_report(ds: Dataset) -> frozenset[str]:
    return frozenset(
        text(series, "SeriesInstanceUID")
        for keyword in _EVIDENCE
        for study in items(ds, keyword)
        for series in items(study, "ReferencedSeriesSequence")
    )
