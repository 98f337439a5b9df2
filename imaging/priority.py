"""How soon a study should be read, by its header: a number, lower ones come first."""

from collections.abc import Iterable

from imaging.attributes import Attributes, items, text

STAT, HIGH, ROUTINE, LOW = 1, 3, 5, 7
# Values of Requested Procedure Priority (0040,1003), of Scheduled Procedure Step Priority
# (0074,1200) and of the retired Study Priority ID (0032,000C).
_WORDS = {"STAT": STAT, "HIGH": HIGH, "ROUTINE": ROUTINE, "MEDIUM": ROUTINE, "MED": ROUTINE,
          "LOW": LOW}  # fmt: skip
_KEYWORDS = ("RequestedProcedurePriority", "ScheduledProcedureStepPriority", "StudyPriorityID")


def priority_of(ds: Attributes) -> int | None:
    """Return the most urgent priority that a data set names, itself or in what was ordered."""
    places = (ds, *items(ds, "RequestAttributesSequence"))
    words = (text(place, keyword).upper() for place in places for keyword in _KEYWORDS)
    return most_urgent(_WORDS.get(word) for word in words)


def most_urgent(priorities: Iterable[int | None]) -> int | None:
    """Return the lowest number, ``None`` when there is none."""
    return min((each for each in priorities if each is not None), default=None)
