"""Images that only plan a scan: localizers, scouts, surveys; by their words and how they lie."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

from imaging.differences import Difference, Headers
from imaging.header import InstanceHeader
from imaging.slices import normal_of
from imaging.words import says, without

_WORDS = frozenset(
    (
        "LOCALIZER",
        "LOCALISER",
        "SCOUT",
        "TOPOGRAM",
        "SURVEY",
        "SURVIEW",
        "SCANOGRAM",
        "SCANO",
        "SCANOSCOPE",
    )
)
# The same in descriptions, and surveys that are no plan of a scan.
_DESCRIBED = """
    localizer, localizers, localiser, localisers, loc, scout, scouts, scoutview, topogram,
    topograms, topogramm, scanogram, surview, survey, lokalizer, lokaliser, lokalisator,
    übersichtsscan, repérage, localizador, localizadores, localizzatore, localizzatori,
    3 plane, three plane, tri plane, triplane, 3pl, 3 pl, топограмм*, локалайзер*, локализатор*,
    定位像, 定位片, 定位图, 位置決め
"""
_DIAGNOSTIC = "skeletal survey, bone survey, body survey, metastatic survey, myeloma survey"
_SLICES = frozenset(("CT", "MR"))
# Directions whose cosine is less are perpendicular, for a plan: 60 to 90 degrees.
_PERPENDICULAR = 0.5
_MOST_SCOUTS, _MOST_SURVEY_SLICES, _SURVEY_PLANES = 3, 15, 3


def is_planning(header: InstanceHeader) -> bool:
    """Whether Image Type says so (PS3.3 C.8.2.1.1.1, C.8.3.1.1.1), or the series description."""
    if not _WORDS.isdisjoint(header.acquisition.image_type):
        return True
    series = header.series
    return series.modality in _SLICES and _describes_plan(series.description or series.protocol)


@lru_cache(maxsize=256)
def _describes_plan(description: str) -> bool:
    return says(without(description, _DIAGNOSTIC), _DESCRIBED)


def scouts_among(headers: Sequence[InstanceHeader]) -> Headers:
    """Return the few images that lie across all others and are made differently.

    A slice with a wrong orientation keeps matrix and pixel spacing and is none.
    """
    placed = [h for h in headers if h.image.orientation and h.image.position]
    by_direction: dict[tuple[float, ...], list[InstanceHeader]] = {}
    for header in placed:
        key = tuple(round(value, 2) for value in header.image.orientation or ())
        by_direction.setdefault(key, []).append(header)
    if len(by_direction) == 1 or len(placed) < len(headers) or not placed:
        return ()
    main = max(by_direction.values(), key=len)
    others = [h for group in by_direction.values() if group is not main for h in group]
    if len(others) > _MOST_SCOUTS or len(main) <= _MOST_SCOUTS:
        return ()
    few = all(_across(h, main[0]) and _made_differently(h, main[0]) for h in others)
    return tuple(others) if few else ()


def is_survey(difference: Difference) -> bool:
    """Whether orientation groups are the few slices in three crossed planes of a survey."""
    groups = [group.headers for group in difference.groups]
    if len(groups) != _SURVEY_PLANES or max(map(len, groups)) > _MOST_SURVEY_SLICES:
        return False
    return all(_across(a[0], b[0]) for a, b in combinations(groups, 2))


def _across(a: InstanceHeader, b: InstanceHeader) -> bool:
    return abs(float(normal_of(a) @ normal_of(b))) < _PERPENDICULAR


def _made_differently(a: InstanceHeader, b: InstanceHeader) -> bool:
    matrix = (a.image.rows, a.image.columns) != (b.image.rows, b.image.columns)
    return matrix or a.image.pixel_spacing_mm != b.image.pixel_spacing_mm
