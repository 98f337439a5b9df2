"""An audited event, and the AuditMessage that says it (PS3.15 A.5.1 to A.5.3)."""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, SubElement, tostring

from dicom_node.audit.kinds import (
    APPLICATION,
    DESTINATION_MEDIA,
    NODE_ID,
    OURS,
    PATIENT_NUMBER,
    SOP_CLASS_UID,
    STUDY_UID,
    URI,
    URI_MEDIA,
    Code,
    Kind,
)

SUCCESS, MINOR, SERIOUS = 0, 4, 8
_SERVER = {"csd-code": "4"}  # application server process, PS3.15 A.5.1.2.1
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who took part: a person, a process or an application entity.

    `role` is the part taken in the event, `rights` the role that lets a person do it, if known.
    """

    user: str
    role: Code = APPLICATION
    rights: str = ""
    ae_title: str = ""
    address: str = ""
    asked: bool = False

    @property
    def ids(self) -> dict[str, str]:
        """The attributes of an ActiveParticipant."""
        found = {"UserID": self.user, "UserIsRequestor": str(self.asked).lower()}
        if self.ae_title:
            found["AlternativeUserID"] = f"AETITLES={self.ae_title}"
        if self.address:
            found |= {"NetworkAccessPointID": self.address, "NetworkAccessPointTypeCode": "2"}
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What was asked for: a C-FIND identifier, or the query part of an address."""

    what: str  # SOP Class UID, or a path
    asked: bytes
    syntax: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """Something that happened; `instances` counts them by SOP class. `removed`: see the chain."""

    kind: Kind
    actors: tuple[Actor, ...]
    study_uid: str = ""
    patient_id: str = ""
    instances: Mapping[str, int] = field(default_factory=dict)
    query: Query | None = None
    about: str = ""  # of an alert, what was in danger; of an export, what was taken
    outcome: int = SUCCESS
    text: str = ""
    removed: str = ""

    @property
    def user(self) -> str:
        """Who asked for it."""
        return next((actor.user for actor in self.actors if actor.asked), "")


def xml_of(event: AuditEvent, *, at: float, source: str) -> str:
    """Return the message of an event in one line; `source` is what reports it."""
    root = Element("AuditMessage")
    _identify(root, event, at)
    for actor in event.actors:
        _participant(root, actor)
    where = SubElement(root, "AuditSourceIdentification", {"AuditSourceID": clean(source)})
    SubElement(where, "AuditSourceTypeCode", _SERVER)
    for thing in _objects(event):
        root.append(thing)
    return tostring(root, encoding="unicode").replace("\n", "&#10;").replace("\r", "&#13;")


def _identify(root: Element, event: AuditEvent, at: float) -> None:
    sort, when = event.kind.value, datetime.fromtimestamp(at, UTC)
    found = SubElement(
        root,
        "EventIdentification",
        {
            "EventActionCode": sort.action,
            "EventDateTime": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "EventOutcomeIndicator": str(event.outcome),
        },
    )
    _coded(found, "EventID", sort.event)
    if sort.type is not None:
        _coded(found, "EventTypeCode", sort.type)
    if event.text:
        SubElement(found, "EventOutcomeDescription").text = clean(event.text)


def _participant(root: Element, actor: Actor) -> None:
    ids = {name: clean(value) for name, value in actor.ids.items()}
    found = SubElement(root, "ActiveParticipant", ids)
    _coded(found, "RoleIDCode", actor.role)
    if actor.rights:
        rights = Code(code=actor.rights, text=actor.rights.capitalize(), system=OURS)
        _coded(found, "RoleIDCode", rights)
    if actor.role is DESTINATION_MEDIA:
        _coded(SubElement(found, "MediaIdentifier"), "MediaType", URI_MEDIA)


def _objects(event: AuditEvent) -> Iterator[Element]:
    if event.study_uid:
        yield _study(event)
    if event.patient_id:
        yield _object(event.patient_id, PATIENT_NUMBER, kind="1", role="1")
    if event.query is not None:
        yield _query(event.query)
    if event.kind.is_alert:
        code, role = (NODE_ID, "4") if event.kind is Kind.REFUSED else (URI, "13")
        found = _object(event.about, code, kind="2", role=role)
        _detail(found, "Alert Description", event.text.encode())
        yield found
    elif event.about:
        yield _object(event.about, URI, kind="2", role="13")


def _study(event: AuditEvent) -> Element:
    found = _object(event.study_uid, STUDY_UID, kind="2", role="3")
    if event.instances:
        told = SubElement(found, "ParticipantObjectDescription")
        for sop_class, number in sorted(event.instances.items()):
            values = {"UID": sop_class, "NumberOfInstances": str(number)}
            SubElement(told, "SOPClass", values)
    return found


def _query(query: Query) -> Element:
    code = SOP_CLASS_UID if query.syntax else URI
    found = _object(query.what, code, kind="2", role="3" if query.syntax else "24", named=False)
    SubElement(found, "ParticipantObjectQuery").text = b64encode(query.asked).decode()
    if query.syntax:
        _detail(found, "TransferSyntax", query.syntax.encode())
    return found


def _object(uid: str, code: Code, *, kind: str, role: str, named: bool = True) -> Element:
    values = {
        "ParticipantObjectID": clean(uid),
        "ParticipantObjectTypeCode": kind,
        "ParticipantObjectTypeCodeRole": role,
    }
    found = Element("ParticipantObjectIdentification", values)
    _coded(found, "ParticipantObjectIDTypeCode", code)
    if named:  # the schema wants a name or a query; names of patients stay out
        SubElement(found, "ParticipantObjectName")
    return found


def _detail(found: Element, name: str, value: bytes) -> None:
    values = {"type": name, "value": b64encode(value).decode()}
    SubElement(found, "ParticipantObjectDetail", values)


def _coded(parent: Element, name: str, code: Code) -> None:
    values = {"csd-code": code.code, "codeSystemName": code.system, "originalText": code.text}
    SubElement(parent, name, values)


def clean(text: str) -> str:
    """Return text without characters that XML cannot hold."""
    return _NOT_XML.sub("?", text)
