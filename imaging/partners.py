"""Which of our findings something that a reader saved is about; nothing is guessed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """How a segment, a measurement group or a finding names itself.

    `key` tells it from the others beside it; `codes` are (value, scheme); `series` are those it
    lies on.
    """

    key: str
    tracking_uid: str
    label: str
    codes: frozenset[tuple[str, str]]
    series: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Partners:
    """Our key by theirs: of those that share a tracking UID, and of those that share a name.

    What could be several of ours, or is one of several that could be the same, is `ambiguous`.
    """

    tracked: Mapping[str, str]
    named: Mapping[str, str]
    ambiguous: frozenset[str]


def partners(ours: Sequence[Named], theirs: Sequence[Named]) -> Partners:
    """Match by tracking UID, else by label or code on the same series.

    Viewers often lose tracking UIDs and codes, and keep labels.
    """
    by_uid = {mine.tracking_uid: mine.key for mine in ours if mine.tracking_uid}
    tracked = {their.key: by_uid[uid] for their in theirs if (uid := their.tracking_uid) in by_uid}
    possible = {
        their.key: [mine.key for mine in ours if _alike(mine, their)]
        for their in theirs
        if their.key not in tracked
    }
    claims = Counter(key for keys in possible.values() for key in keys)
    claims.update(tracked.values())
    named = {
        key: keys[0] for key, keys in possible.items() if len(keys) == 1 and claims[keys[0]] == 1
    }
    unclear = {key for key, keys in possible.items() if keys} - named.keys()
    return Partners(tracked=tracked, named=named, ambiguous=frozenset(unclear))


def _alike(mine: Named, their: Named) -> bool:
    if not mine.series & their.series:
        return False
    label, other = mine.label.strip().casefold(), their.label.strip().casefold()
    return label == other != "" or bool(mine.codes & their.codes)
