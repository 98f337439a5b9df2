"""Whose a study is: what results say of patient and order, what a PACS says, and results corrected.

A PACS moves studies to other patients, merges patients and corrects names; results follow.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields

from pydicom import Dataset

from imaging.attributes import text
from imaging.identity import derived_uid
from imaging.text import in_utf_8

_KEYWORDS = {
    "patient_id": "PatientID",
    "issuer": "IssuerOfPatientID",
    "name": "PatientName",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "accession_number": "AccessionNumber",
}
_NAMED = {
    "patient_id": "patient ID",
    "issuer": "issuer of the patient ID",
    "name": "patient name",
    "birth_date": "birth date",
    "sex": "sex",
    "accession_number": "accession number",
}
_LOST = frozenset("?\ufffd")  # stand for characters that a PACS cannot write in its answer
# What belongs to a patient, and so not to another one.
_OF_THE_FORMER = (
    "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID",
    "OtherPatientIDsSequence", "PatientBirthTime", "PatientAge", "ResponsiblePerson",
    "ResponsiblePersonRole", "ResponsibleOrganization", "IssuerOfAccessionNumberSequence",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Whose a study is; what is empty says nothing."""

    patient_id: str = ""
    issuer: str = ""
    name: str = ""
    birth_date: str = ""
    sex: str = ""
    accession_number: str = ""


def whose(ds: Dataset) -> Whose:
    """Return whose an instance is, or whose a study is by the answer to a query."""
    return Whose(**{name: text(ds, keyword) for name, keyword in _KEYWORDS.items()})


def differing(ours: Whose, theirs: Whose) -> tuple[str, ...]:
    """Return, in words, which attributes differ; what one of them leaves empty does not count.

    Nor do case, spaces and empty ends of a name: many a PACS normalises these.
    """
    return tuple(_NAMED[name] for name in _differing(ours, theirs))


def is_other_patient(ours: Whose, theirs: Whose) -> bool:
    """Whether the patient is another one, not just better described."""
    return bool({"patient_id", "issuer"} & set(_differing(ours, theirs)))


def followed(ours: Whose, theirs: Whose) -> Whose:
    """Return whose the study is by a PACS; of another patient nothing of the former is kept."""
    if is_other_patient(ours, theirs):
        kept = "" if theirs.accession_number else ours.accession_number
        return Whose(**(_values(theirs) | ({"accession_number": kept} if kept else {})))
    changed = _differing(ours, theirs)
    return Whose(**(_values(ours) | {name: _values(theirs)[name] for name in changed}))


def corrected(ds: Dataset, to: Whose, uids: Mapping[str, str]) -> Dataset:
    """Return the result `ds` as one of `to`, with UIDs replaced wherever they stand.

    Other content is another instance, so `uids` gives new ones to it and to its series; references
    to results that are corrected with it follow. Text becomes UTF-8 where `to` needs it.
    """
    ours = whose(ds)
    plain = "".join(_values(to).values()).isascii()
    made = deepcopy(ds) if plain else in_utf_8(ds, list(ds.keys()))
    made.file_meta = deepcopy(ds.file_meta)
    if is_other_patient(ours, to):
        for keyword in _OF_THE_FORMER:
            if keyword in made:
                delattr(made, keyword)
    for name, value in _values(to).items():
        if value or name != "issuer":
            setattr(made, _KEYWORDS[name], value)
    _replace_uids(made, uids)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def corrected_uid(uid: str, to: Whose, together: tuple[str, ...]) -> str:
    """Return the UID of an instance or a series after correction, together with these instances."""
    return derived_uid("corrected", uid, *_values(to).values(), *sorted(together))


def _values(of: Whose) -> dict[str, str]:
    return {field.name: getattr(of, field.name) for field in fields(of)}


def _differing(ours: Whose, theirs: Whose) -> tuple[str, ...]:
    mine, other = _values(ours), _values(theirs)
    return tuple(
        name for name in _KEYWORDS if other[name] and not _same(name, mine[name], other[name])
    )


def _same(name: str, ours: str, theirs: str) -> bool:
    if name == "issuer" and not ours:
        return True  # a PACS that knows who issued the ID we have
    if name != "name":
        return ours.strip() == theirs.strip()
    told = [_plain(group) if not _LOST & set(group) else [] for group in theirs.split("=")]
    mine = [_plain(group) for group in ours.split("=")]
    if not any(mine):
        return not any(told)
    return all(a == b for a, b in zip(mine, told, strict=False) if a and b)


def _plain(group: str) -> list[str]:
    parts = [" ".join(part.split()).casefold() for part in group.split("^")]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def _replace_uids(ds: Dataset, uids: Mapping[str, str]) -> None:
    """Replace UIDs at every depth; text is left as the bytes that it is."""
    for tag in list(ds.keys()):
        vr = ds.get_item(tag).VR
        if vr == "SQ":
            for item in ds[tag].value:
                _replace_uids(item, uids)
        elif vr == "UI" and str(ds[tag].value) in uids:
            ds[tag].value = uids[str(ds[tag].value)]
