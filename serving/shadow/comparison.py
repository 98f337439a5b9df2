"""What a shadow reading says beside the served one: matched finding by finding."""

from collections.abc import Iterator, Mapping, Sequence

from imaging.mask_comparison import Overlap, overlap
from imaging.seg_masks import SegmentMasks
from serving.records import FindingRecord, Record


class Outline(Record):
    """One structure that both versions outlined."""

    name: str
    dice: float


class Classes(Record):
    """One question that both versions answered with a class."""

    name: str
    served: str
    shadow: str


class Measured(Record):
    """One value that both versions measured."""

    name: str
    unit: str
    served: float
    shadow: float


class Comparison(Record):
    """Two readings of one series; `silent` are the codes of what a version left unanswered."""

    outlines: tuple[Outline, ...] = ()
    classes: tuple[Classes, ...] = ()
    measured: tuple[Measured, ...] = ()
    served_silent: tuple[str, ...] = ()
    shadow_silent: tuple[str, ...] = ()


def compared(
    served: Sequence[FindingRecord],
    shadow: Sequence[FindingRecord],
    masks: tuple[SegmentMasks | None, SegmentMasks | None],
) -> Comparison:
    """Compare findings of the same name; `masks` are those of the served and the shadow version."""
    theirs = {each.tracking_id: each for each in served}
    both = [(theirs[o.tracking_id], o) for o in shadow if o.tracking_id in theirs]
    answered = [(t, o) for t, o in both if not (t.abstained or o.abstained)]
    return Comparison(
        outlines=tuple(_outlines(answered, masks)),
        classes=tuple(
            Classes(name=_subject(t), served=t.concept, shadow=o.concept)
            for t, o in answered
            if t.probabilities and o.probabilities
        ),
        measured=tuple(each for t, o in answered for each in _measured(t, o)),
        served_silent=tuple(_silences(served)),
        shadow_silent=tuple(_silences(shadow)),
    )


def _outlines(
    pairs: Sequence[tuple[FindingRecord, FindingRecord]],
    masks: tuple[SegmentMasks | None, SegmentMasks | None],
) -> Iterator[Outline]:
    theirs, ours = masks
    if theirs is None or ours is None:
        return
    for served, shadow in pairs:
        if served.segment_number is None or shadow.segment_number is None:
            continue
        found = overlap(
            theirs, ours, segment=served.segment_number, as_segment=shadow.segment_number
        )
        if isinstance(found, Overlap):
            yield Outline(name=served.concept, dice=found.dice)


def _measured(served: FindingRecord, shadow: FindingRecord) -> Iterator[Measured]:
    ours: Mapping[tuple[str, str], float] = {(m.name, m.unit): m.value for m in shadow.measurements}
    for measurement in served.measurements:
        key = (measurement.name, measurement.unit)
        if key in ours:
            yield Measured(
                name=f"{_subject(served)}: {measurement.name}",
                unit=measurement.unit,
                served=measurement.value,
                shadow=ours[key],
            )


def _silences(findings: Sequence[FindingRecord]) -> Iterator[str]:
    yield from (each.abstained.code for each in findings if each.abstained)


def _subject(finding: FindingRecord) -> str:
    """Return what a finding is about, whatever its class: its name without that of the model."""
    return finding.tracking_id.rpartition("/")[2] or finding.concept
