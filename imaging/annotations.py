"""Objects that say something about images and hold none that a model could read (PS3.4 B.5)."""

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_REPORTS, _PRESENTATION_STATES = f"{_STORAGE}88.", f"{_STORAGE}11."  # key objects are reports
_SEGMENTATIONS = frozenset(f"{_STORAGE}{number}" for number in ("66.4", "66.5", "66.7"))


def is_report(sop_class_uid: str) -> bool:
    """Whether instances of a class are structured reports, key object selections among them."""
    return sop_class_uid.startswith(_REPORTS)


def is_segmentation(sop_class_uid: str) -> bool:
    """Whether instances of a class are segmentations of any kind."""
    return sop_class_uid in _SEGMENTATIONS


def is_annotation(sop_class_uid: str) -> bool:
    """Whether a class is that of reports, segmentations or presentation states."""
    return (
        is_report(sop_class_uid)
        or sop_class_uid.startswith(_PRESENTATION_STATES)
        or is_segmentation(sop_class_uid)
    )
