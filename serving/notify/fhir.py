"""Findings to a FHIR R4 server: one transaction that may be repeated, and what its answer says.

Patient and ImagingStudy are created where the server has none, never changed. Report and
Observations are ours: they are found again by their identifiers, and then replaced.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from dicom_node.scu import Timeouts
from imaging.verdict import Verdict
from serving.fhir import Json, resources
from serving.notify.bearer import bearer
from serving.notify.post import Answer, post
from serving.notify.story import Story
from serving.notify.target import Target
from serving.notify.told import Told

_MEDIA_TYPE = "application/fhir+json"
_REPORT, _OBSERVATION = "DiagnosticReport", "Observation"
_THEIRS = frozenset({"Patient", "ImagingStudy"})
_RELEASED = frozenset({"final", "amended", "corrected"})
_REFUSALS = frozenset({400, 412, 413, 422})  # what is said of the message and not of now or of us
_ESCAPES = str.maketrans({sign: f"\\{sign}" for sign in "\\|,$"})  # in values of a search
_MOST_WORDS = 1000


def composed(story: Story, target: Target) -> bytes | Told:
    """Return a transaction; nothing can be told of a patient whom nothing identifies."""
    study = story.study
    if not study.patient_id:
        return Told(verdict="refused", words="the study has no patient ID")
    system = _system(story, target)
    if not system:
        return Told(verdict="refused", words="the issuer of the patient ID is none of issuers")
    report, patient, imaging, *observations = resources(
        study,
        story.series,
        story.standing,
        assessed=story.assessed,
        issued=story.message.planned_at,
    )
    patient["identifier"] = [{"system": system, "value": study.patient_id}]
    read = map(_read, story.earlier)  # a target may have been of another kind
    earlier = [told for told in read if told.get("type") == "transaction"]
    report["status"] = _status(report["status"], story, earlier)
    if story.workitem and (why := story.workitem.reason_text):
        report["conclusion"] = f"{why}\n{report['conclusion']}"
    withdrawn = _withdrawn(earlier, observations)
    entries = map(_entry, (patient, imaging, *observations, *withdrawn, report))
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}
    return json.dumps(bundle, ensure_ascii=False).encode()


def _system(story: Story, target: Target) -> str:
    """Return the system of the patient ID, empty where the images name an issuer without one."""
    issuer = story.issuer() if target.issuers else ""
    return target.patient_system if issuer == "" else target.issuers.get(issuer or "", "")


def _status(status: str, story: Story, earlier: Sequence[Json]) -> str:
    """Return the status of a report to those who may have had an earlier version of it."""
    if not story.standing and story.message.event not in {"completed", "assessed"}:
        return "cancelled"
    before = {each["resource"].get("status") for told in earlier for each in _of(told, _REPORT)}
    if status != "final" or before.isdisjoint(_RELEASED):
        return status
    verdicts = {story.assessed[finding.tracking_uid].verdict for finding in story.standing}
    return "amended" if verdicts == {Verdict.ACCEPTED} else "corrected"


def _of(bundle: Json, kind: str) -> list[Json]:
    return [each for each in bundle["entry"] if each["resource"]["resourceType"] == kind]


def _withdrawn(earlier: Sequence[Json], current: Sequence[Json]) -> list[Json]:
    """Return what was told and stands no more; each message repeats it, as one may be lost."""
    known = {f"urn:uuid:{observation['id']}" for observation in current}
    return [
        {**each["resource"], "id": each["fullUrl"].removeprefix("urn:uuid:")}
        | {"status": "entered-in-error"}
        for each in (_of(earlier[-1], _OBSERVATION) if earlier else ())
        if each["fullUrl"] not in known
    ]


def _entry(resource: Json) -> Json:
    """Return an entry that does the same however often it is sent; the server gives the id."""
    kind, (identifier, *_) = resource["resourceType"], resource["identifier"]
    value = f"{identifier['system'].translate(_ESCAPES)}|{identifier['value'].translate(_ESCAPES)}"
    query = f"identifier={quote(value, safe='')}"
    known = {"method": "PUT", "url": f"{kind}?{query}"}
    unknown = {"method": "POST", "url": kind, "ifNoneExist": query}
    return {
        "fullUrl": f"urn:uuid:{resource['id']}",
        "resource": {name: value for name, value in resource.items() if name != "id"},
        "request": unknown if kind in _THEIRS else known,
    }


def send(target: Target, body: bytes, *, timeouts: Timeouts) -> Told:
    """Post a transaction once.

    Raises
    ------
    SetupError
        The secret or key cannot be used.
    """
    token = bearer(target, timeouts=timeouts)
    if isinstance(token, Told):
        return token
    headers = {"Content-Type": _MEDIA_TYPE, "Accept": _MEDIA_TYPE, "Prefer": "return=minimal"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return _judged(post(target.url, body, headers, context=target.tls_context(), timeouts=timeouts))


def _judged(answer: Answer) -> Told:
    told, said = answer.told, _read(answer.body)
    if not answer.status:
        return told
    if told.verdict == "delivered":
        return _taken(told, said)
    kept = answer.status in _REFUSALS
    return replace(told, verdict="refused" if kept else "waiting", words=_words(said))


def _taken(told: Told, said: Json) -> Told:
    """Believe only a server that did every entry: a portal answers 200 to anything."""
    if said.get("resourceType") != "Bundle" or said.get("type") != "transaction-response":
        return replace(told, verdict="waiting", words="the answer is not that of a FHIR server")
    responses = [_dict(_dict(each).get("response")) for each in _list(said.get("entry"))]
    bad = [each for each in responses if not str(each.get("status", "")).startswith("2")]
    if not bad and responses:
        return told
    words = "; ".join(filter(None, (_words(_dict(each.get("outcome"))) for each in bad)))
    return replace(told, verdict="refused", words=words or "not every entry was taken")


def _words(outcome: Json) -> str:
    """Return what an OperationOutcome says; it may name a patient."""
    said = (_issue(_dict(issue)) for issue in _list(outcome.get("issue")))
    return "; ".join(filter(None, said))[:_MOST_WORDS]


def _issue(issue: Json) -> str:
    text = issue.get("diagnostics") or _dict(issue.get("details")).get("text") or issue.get("code")
    place = ", ".join(map(str, _list(issue.get("expression"))))
    return f"{place}: {text}" if place else str(text or "")


def _read(body: bytes) -> Json:
    try:
        return _dict(json.loads(body))
    except (ValueError, RecursionError):
        return {}


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
