"""Which attributes a step must, may and may not have (PS3.4 table CC.2.5-3)."""

from collections.abc import Sequence

from imaging.dicom_json import JsonDataset
from imaging.errors import InputError
from serving.ups.dataset import code, date_time, first, one, sequence, values
from serving.ups.states import State

PUSH = "1.2.840.10008.5.1.4.34.6.1"  # UPS Push SOP Class: that of every step
STATE, PROGRESS, PERFORMED = "00741000", "00741002", "00741216"
PRIORITY, LABEL, WORKLIST, CHANGED_AT = "00741200", "00741204", "00741202", "00404010"
START, READINESS, CODES, INPUT = "00404005", "00404041", "00404018", "00404021"
STUDY, PATIENT, REQUEST, ACCESSION = "0020000D", "00100020", "0040A370", "00080050"
REASON, CONTACT_URI, CONTACT_NAME = "00741238", "0074100A", "0074100C"
STATIONS = "00404025"
OUTPUT, CANCELED_AT, DISCONTINUED = "00404033", "00404052", "0074100E"
_CLASS, _INSTANCE, _TRANSACTION = "00080016", "00080018", "00081195"
_NEEDED = (PRIORITY, LABEL, START, READINESS, STATE)
_ENUMERATED = {
    PRIORITY: ("STAT", "HIGH", "MEDIUM", "LOW"),
    READINESS: ("READY", "UNAVAILABLE", "INCOMPLETE"),
    STATE: tuple(State),
}
_EMPTY = {
    "00741210": "SQ", "00404025": "SQ", "00404026": "SQ", "00404027": "SQ", CODES: "SQ",
    "00400400": "LT", INPUT: "SQ", "00100010": "PN", PATIENT: "LO", "00100021": "LO",
    "00100030": "DA", "00100040": "CS", "00380010": "LO", "00380014": "SQ", "00081080": "LO",
    "00081084": "SQ", REQUEST: "SQ", PROGRESS: "SQ", PERFORMED: "SQ", STUDY: "UI",
    "00101002": "SQ",
}  # fmt: skip
_CREATED_ONCE = (_CLASS, _INSTANCE, STATE, STUDY, "00100010", PATIENT, "00100021", "00100030",
                 "00100040", "00101002", "00380010", "00380014", "00081080", "00081084",
                 REQUEST)  # fmt: skip
_TOLD = (REASON, DISCONTINUED, CONTACT_URI, CONTACT_NAME)  # why, and whom to ask
_PERFORMED_NEEDS = ("00404028", "00404019", "00404050", "00404051")


def created(ds: JsonDataset, uid: str, at: float) -> tuple[JsonDataset, bool]:
    """Return a new step as it is kept, and whether something was added that should be there.

    Raises
    ------
    InputError
        Something is missing, or there that may not be.
    """
    for tag in _NEEDED:
        if not first(ds, tag):
            msg = f"{tag} is missing"
            raise InputError(msg)
    _check_enumerated(ds)
    if first(ds, STATE) != State.SCHEDULED:
        msg = "a new workitem must be SCHEDULED"
        raise InputError(msg)
    filled = [tag for tag in (_TRANSACTION, PROGRESS, PERFORMED) if first(ds, tag)]
    if filled:
        msg = f"{', '.join(filled)} must be empty in a new workitem"
        raise InputError(msg)
    if first(ds, _INSTANCE) not in {"", uid} or first(ds, _CLASS) not in {"", PUSH}:
        msg = "SOP class or instance contradict the request"
        raise InputError(msg)
    absent = {tag: {"vr": vr} for tag, vr in _EMPTY.items() if tag not in ds}
    kept = {**absent, **ds, _CLASS: one("UI", PUSH), _INSTANCE: one("UI", uid)}
    if not first(kept, WORKLIST):
        kept[WORKLIST] = one("LO", "Wetread")
    return stamped(kept, at), bool(absent)


def updated(kept: JsonDataset, ds: JsonDataset, at: float) -> JsonDataset:
    """Return a step with attributes set.

    Raises
    ------
    InputError
        One of them may not be set.
    """
    fixed = [tag for tag in _CREATED_ONCE if tag in ds and ds[tag] != kept.get(tag)]
    if fixed:
        msg = f"{', '.join(fixed)} cannot be set in a workitem"
        raise InputError(msg)
    emptied = [tag for tag in _NEEDED if tag in ds and not first(ds, tag)]
    if emptied:
        msg = f"{', '.join(emptied)} must have a value"
        raise InputError(msg)
    _check_enumerated(ds)
    return stamped({**kept, **ds}, at)


def stamped(ds: JsonDataset, at: float) -> JsonDataset:
    """Return a data set as changed now, in the order of tags, without its transaction UID."""
    ds = {tag: element for tag, element in ds.items() if tag != _TRANSACTION}
    return dict(sorted({**ds, CHANGED_AT: one("DT", date_time(at))}.items()))


def unmet(ds: JsonDataset, wanted: State) -> Sequence[str]:
    """Return which attributes a final state still needs."""
    if wanted is State.COMPLETED:
        performed: JsonDataset = next(values(ds, PERFORMED), {})
        lacking = [tag for tag in _PERFORMED_NEEDS if not next(values(performed, tag), None)]
        return lacking if OUTPUT in performed else [*lacking, OUTPUT]
    if wanted is State.CANCELED:
        needed = (CANCELED_AT, DISCONTINUED)
        return [tag for tag in needed if not next(values(ds, PROGRESS, tag), None)]
    return ()


def _check_enumerated(ds: JsonDataset) -> None:
    for tag, allowed in _ENUMERATED.items():
        if tag in ds and first(ds, tag) not in allowed:
            msg = f"{tag} must be {' or '.join(allowed)}"
            raise InputError(msg)


def created_by_us(uid: str) -> JsonDataset:
    """Return what our own steps have beside their description."""
    return {
        _CLASS: one("UI", PUSH),
        _INSTANCE: one("UI", uid),
        WORKLIST: one("LO", "Wetread"),
        PROGRESS: {"vr": "SQ"},
        PERFORMED: {"vr": "SQ"},
    }


def canceled(kept: JsonDataset, asked: JsonDataset, at: float) -> JsonDataset:
    """Return a step that is canceled before anybody claimed it, with the reason that was given."""
    unspecified = code("110513", "DCM", "Discontinued for unspecified reason")
    given: JsonDataset = next(values(kept, PROGRESS), {})
    told = {tag: asked[tag] for tag in _TOLD if tag in asked}
    progress = {
        DISCONTINUED: sequence(unspecified),
        **given,
        **told,
        CANCELED_AT: one("DT", date_time(at)),
    }
    return stamped({**kept, PROGRESS: sequence(progress)}, at)
