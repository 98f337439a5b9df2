"""A study's findings as FHIR R4 (4.0.1): DiagnosticReport, Observations and ImagingStudy.

Plain JSON values. Findings are preliminary until a reader accepted or corrected all of them; what a
reader rejected is `entered-in-error`.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dicom_node.records import StudyRow
from imaging.verdict import Verdict
from serving.assessments import AssessmentRecord
from serving.records import CodeRecord, FindingRecord, MeasurementRecord
from serving.study_view import SeriesView

Json = dict[str, Any]
_NAMESPACE = uuid.UUID("0b8f6d5e-6a34-4f0e-9a3b-2a0f2b1b7c11")
_SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "LN": "http://loinc.org",
    "NCIt": "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl",
}
_REPORT = CodeRecord(value="18748-4", scheme="LN", meaning="Diagnostic imaging study")
_PROBABILITY = CodeRecord(value="C90397", scheme="NCIt", meaning="Probability")
_SEXES = {"M": "male", "F": "female", "O": "other"}
_ACCESSION = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]
}
_NOTE = "AI result, research use only"


def bundle(
    study: StudyRow,
    series: Sequence[SeriesView],
    findings: Sequence[FindingRecord],
    *,
    assessed: Mapping[str, AssessmentRecord],
    issued: float | None,
) -> Json:
    """Return the Bundle of a study's resources."""
    made = resources(study, series, findings, assessed=assessed, issued=issued)
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": f"urn:uuid:{r['id']}", "resource": r} for r in made],
    }


def resources(
    study: StudyRow,
    series: Sequence[SeriesView],
    findings: Sequence[FindingRecord],
    *,
    assessed: Mapping[str, AssessmentRecord],
    issued: float | None,
) -> list[Json]:
    """Return the report first, then what it refers to; `assessed` hold, by tracking UID.

    Identifiers derive from UIDs, so the same content gives the same resources.
    """
    patient, imaging = _patient(study), _imaging_study(study, series)
    observations = [_observation(f, study, assessed.get(f.tracking_uid)) for f in findings]
    report = _report(study, observations, issued, findings=findings, assessed=assessed)
    return [report, patient, imaging, *observations]


def report_status(
    findings: Sequence[FindingRecord], assessed: Mapping[str, AssessmentRecord]
) -> str:
    """Return the status of a report: preliminary until a reader has judged all that was found.

    Withdrawn when a reader rejected all of it: without findings it would say that nothing is there.
    """
    statuses = {_status(assessed.get(finding.tracking_uid)) for finding in findings}
    if not statuses or "preliminary" in statuses:
        return "preliminary"
    return "entered-in-error" if statuses == {"entered-in-error"} else "final"


def _report(
    study: StudyRow,
    observations: Sequence[Json],
    issued: float | None,
    *,
    findings: Sequence[FindingRecord],
    assessed: Mapping[str, AssessmentRecord],
) -> Json:
    # Not the id: a server may replace that wherever it stands in a bundle by an id of its own.
    known_as = f"urn:uuid:{_id('report identifier', study.study_uid)}"
    report: Json = {
        "resourceType": "DiagnosticReport",
        "id": _id("report", study.study_uid),
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": known_as}],
        "status": report_status(findings, assessed),
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074",
                                  "code": "RAD", "display": "Radiology"}]}],
        "code": _concept(_REPORT),
        "subject": _reference("patient", study.study_uid),
        "imagingStudy": [_reference("imaging", study.study_uid)],
        "result": [{"reference": f"urn:uuid:{o['id']}"} for o in observations],
        "conclusion": "\n".join([*_statements(findings, assessed), f"{_NOTE}."]),
    }  # fmt: skip
    if study.accession_number:
        order = {"type": _ACCESSION, "value": study.accession_number}
        report["basedOn"] = [{"type": "ServiceRequest", "identifier": order}]
    if started := _day(study.study_date):
        report["effectiveDateTime"] = started
    if issued is not None:
        report["issued"] = datetime.fromtimestamp(issued, UTC).isoformat(timespec="milliseconds")
    return report


def _statements(
    findings: Sequence[FindingRecord], assessed: Mapping[str, AssessmentRecord]
) -> Iterator[str]:
    """Yield what was found, but for what a reader rejected or corrected: that says itself."""
    for finding in findings:
        said = assessed.get(finding.tracking_uid)
        if said is None or said.verdict == Verdict.ACCEPTED:
            yield finding.statement


def _observation(finding: FindingRecord, study: StudyRow, said: AssessmentRecord | None) -> Json:
    observation: Json = {
        "resourceType": "Observation",
        "id": _id("finding", study.study_uid, finding.tracking_uid),
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{finding.tracking_uid}"}],
        "status": _status(said),
        "code": _concept(_found(finding, said)),
        "subject": _reference("patient", study.study_uid),
        "derivedFrom": [_reference("imaging", study.study_uid)],
        "method": {"text": f"{finding.model} {finding.model_version}".strip()},
        "note": [{"text": text} for text in (finding.statement, *_remarks(said))],
    }
    if started := _day(study.study_date):
        observation["effectiveDateTime"] = started
    if finding.site:
        observation["bodySite"] = _concept(finding.site)
    if finding.abstained:
        observation["dataAbsentReason"] = {"text": finding.abstained.text}
    if components := list(_components(finding, said)):
        observation["component"] = components
    return observation


def _found(finding: FindingRecord, said: AssessmentRecord | None) -> CodeRecord:
    """Return what it is: as a reader corrected it, else as the model found it."""
    return (said and said.instead) or finding.code or _uncoded(finding.concept)


def _status(said: AssessmentRecord | None) -> str:
    statuses = {"accepted": "final", "corrected": "corrected", "rejected": "entered-in-error"}
    return statuses.get(said.verdict, "preliminary") if said else "preliminary"


def _remarks(said: AssessmentRecord | None) -> Iterator[str]:
    if said:
        instead = f", instead: {said.instead.meaning}" if said.instead else ""
        why = f" ({said.reason})" if said.reason else ""
        yield f"Reader {said.reader}: {said.verdict}{why}{instead}"
        if said.comment:
            yield said.comment


def _components(finding: FindingRecord, said: AssessmentRecord | None) -> Iterator[Json]:
    corrected = {m.name: m for m in said.measured} if said else {}
    for measured in finding.measurements:
        yield _quantity(corrected.get(measured.name, measured))
    if finding.probability is not None:
        yield {
            "code": _concept(_PROBABILITY),
            "valueQuantity": {
                "value": finding.probability,
                "unit": "1",
                "system": "http://unitsofmeasure.org",
                "code": "1",
            },
        }


def _quantity(measured: MeasurementRecord) -> Json:
    return {
        "code": _concept(measured.code or _uncoded(measured.name)),
        "valueQuantity": {
            "value": measured.value,
            "unit": measured.unit,
            "system": "http://unitsofmeasure.org",
            "code": measured.unit,
        },
    }


def _patient(study: StudyRow) -> Json:
    patient: Json = {"resourceType": "Patient", "id": _id("patient", study.study_uid)}
    if study.patient_id:
        patient["identifier"] = [{"value": study.patient_id}]
    if names := [_name(form) for form in study.patient_name.split("=") if form.strip("^ ")]:
        patient["name"] = names
    if sex := _SEXES.get(study.sex):
        patient["gender"] = sex
    if born := _day(study.birth_date):
        patient["birthDate"] = born
    return patient


def _name(form: str) -> Json:
    family, *given = (part.strip() for part in form.split("^"))
    name: Json = {"family": family} if family else {}
    if given := [part for part in given[:2] if part]:
        name["given"] = given
    return name or {"text": form.strip()}


def _imaging_study(study: StudyRow, series: Sequence[SeriesView]) -> Json:
    images = [s for s in series if s.instances > s.results]
    imaging: Json = {
        "resourceType": "ImagingStudy",
        "id": _id("imaging", study.study_uid),
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study.study_uid}"}],
        "status": "available",
        "subject": _reference("patient", study.study_uid),
        "numberOfSeries": len(images),
        "numberOfInstances": sum(s.instances for s in images),
    }
    if images:
        imaging["series"] = [_series(s) for s in images]
    if started := _day(study.study_date):
        imaging["started"] = started
    if study.description:
        imaging["description"] = study.description
    return imaging


def _series(series: SeriesView) -> Json:
    found: Json = {
        "uid": series.series_uid,
        "modality": {
            "system": _SYSTEMS["DCM"],
            "code": series.modality or "OT",
        },
        "numberOfInstances": series.instances,
    }
    if series.number is not None and series.number >= 0:
        found["number"] = series.number
    if series.description:
        found["description"] = series.description
    return found


def _concept(code: CodeRecord) -> Json:
    system = _SYSTEMS.get(code.scheme)
    if not code.value:
        return {"text": code.meaning}
    coding = {"code": code.value, "display": code.meaning}
    return {"coding": [coding | ({"system": system} if system else {})], "text": code.meaning}


def _uncoded(meaning: str) -> CodeRecord:
    return CodeRecord(value="", scheme="", meaning=meaning)


def _reference(kind: str, study_uid: str) -> Json:
    return {"reference": f"urn:uuid:{_id(kind, study_uid)}"}


def _id(*parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(parts)))


def _day(text: str) -> str:
    """Return a DICOM date as FHIR has it, nothing when it is none.

    Without its time: that needs a zone in FHIR, and DICOM seldom names one.
    """
    try:
        return datetime.strptime(text.strip(), "%Y%m%d").replace(tzinfo=UTC).date().isoformat()
    except ValueError:
        return ""
