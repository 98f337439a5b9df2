"""Rows of a search as DICOM JSON (PS3.18 10.6.3.3)."""

from collections.abc import Mapping, Sequence
from typing import Any

from dicom_node.searching import RequestRow, Row, SeriesSummary
from imaging.dicom_json import JsonDataset, JsonElement, name_of


def study_of(row: Row, base: str) -> JsonDataset:
    """Return the attributes of a study that are always given, but for its summary."""
    return {
        "00080020": _value("DA", row["study_date"]),
        "00080030": _value("TM", row["study_time"]),
        "00080050": _value("SH", row["accession_number"]),
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00080090": _name(row["referring_physician"]),
        "00081030": _value("LO", row["description"]),
        "00081190": _value("UR", f"{base}/studies/{row['study_uid']}"),
        "00100010": _name(row["patient_name"]),
        "00100020": _value("LO", row["patient_id"]),
        "00100030": _value("DA", row["birth_date"]),
        "00100040": _value("CS", row["sex"]),
        "0020000D": _value("UI", row["study_uid"]),
        "00200010": _value("SH", row["study_id"]),
    }


def summary_of(series: Sequence[SeriesSummary]) -> JsonDataset:
    """Return what a study's series amount to."""
    modalities = sorted({each.modality for each in series if each.modality})
    return {
        "00080061": {"vr": "CS", "Value": modalities} if modalities else {"vr": "CS"},
        "00201206": {"vr": "IS", "Value": [len(series)]},
        "00201208": {"vr": "IS", "Value": [sum(each.instances for each in series)]},
    }


def series_of(row: Row, base: str) -> JsonDataset:
    """Return the attributes of a series that are always given, but for its requests."""
    return {
        "00080021": _value("DA", row["series_date"]),
        "00080031": _value("TM", row["series_time"]),
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00080060": _value("CS", row["modality"]),
        "0008103E": _value("LO", row["series_description"]),
        "00081190": _value("UR", f"{base}/studies/{row['study_uid']}/series/{row['series_uid']}"),
        "00180015": _value("CS", row["body_part"]),
        "0020000D": _value("UI", row["study_uid"]),
        "0020000E": _value("UI", row["series_uid"]),
        "00200011": _value("IS", row["number"]),
        "00201209": _value("IS", row.get("instances")),
        "00400244": _value("DA", row["step_date"]),
        "00400245": _value("TM", row["step_time"]),
    }


def requests_of(requests: Sequence[RequestRow]) -> JsonDataset:
    """Return what a series was ordered by."""
    if not requests:
        return {}
    items = [
        {"00400009": _value("SH", each.step_id), "00401001": _value("SH", each.procedure_id)}
        for each in requests
    ]
    return {"00400275": {"vr": "SQ", "Value": items}}


def instance_of(row: Row, base: str) -> JsonDataset:
    """Return the attributes of an instance that are always given."""
    series = f"{base}/studies/{row['study_uid']}/series/{row['series_uid']}"
    found = {
        "00080016": _value("UI", row["sop_class_uid"]),
        "00080018": _value("UI", row["instance_uid"]),
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00081190": _value("UR", f"{series}/instances/{row['instance_uid']}"),
        "00083002": _value("UI", row["transfer_syntax_uid"]),
        "0020000D": _value("UI", row["study_uid"]),
        "0020000E": _value("UI", row["series_uid"]),
        "00200013": _value("IS", row["instance_number"]),
    }
    sizes = (
        ("00280008", "IS", "frames"),
        ("00280010", "US", "rows"),
        ("00280011", "US", "columns"),
        ("00280100", "US", "bits_allocated"),
    )
    return found | {tag: _value(vr, row[name]) for tag, vr, name in sizes if row[name] is not None}


def merged(*parts: Mapping[str, Any]) -> JsonDataset:
    """Return attributes in the order of their tags; the first that has one counts."""
    found = {tag: element for part in reversed(parts) for tag, element in part.items()}
    return dict(sorted(found.items()))


def _value(vr: str, value: str | int | None) -> JsonElement:
    return {"vr": vr} if value is None or value == "" else {"vr": vr, "Value": [value]}


def _name(text: str) -> JsonElement:
    name = name_of(text)
    return {"vr": "PN", "Value": [name]} if name else {"vr": "PN"}
