"""What is audited: the event codes of PS3.15 A.5.3 (PS3.16 CID 400 to 405), and types of ours."""

from dataclasses import dataclass
from enum import Enum

OURS = "99WETREAD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A coded value as audit messages hold it."""

    code: str
    text: str
    system: str = "DCM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """Event ID, event type and action of one kind of event."""

    event: Code
    action: str
    type: Code | None = None


def _dcm(code: str, text: str) -> Code:
    return Code(code=code, text=text)


def _own(text: str) -> Code:
    return Code(code=text.lower().replace(" ", "-"), text=text, system=OURS)


APPLICATION, LAUNCHER = _dcm("110150", "Application"), _dcm("110151", "Application Launcher")
DESTINATION, SOURCE = _dcm("110152", "Destination Role ID"), _dcm("110153", "Source Role ID")
DESTINATION_MEDIA, URI_MEDIA = _dcm("110154", "Destination Media"), _dcm("110037", "URI")
STUDY_UID, SOP_CLASS_UID = _dcm("110180", "Study Instance UID"), _dcm("110181", "SOP Class UID")
NODE_ID = _dcm("110182", "Node ID")
PATIENT_NUMBER = Code(code="2", text="Patient Number", system="RFC-3881")
URI = Code(code="12", text="URI", system="RFC-3881")

_ACTIVITY = _dcm("110100", "Application Activity")
_ACCESSED = _dcm("110103", "DICOM Instances Accessed")
_PROCEDURE = _dcm("110111", "Procedure Record")
_ALERT = _dcm("110113", "Security Alert")
_AUTHENTICATION = _dcm("110114", "User Authentication")


class Kind(Enum):
    """Every kind of event that leaves a record."""

    STARTED = Sort(event=_ACTIVITY, type=_dcm("110120", "Application Start"), action="E")
    STOPPED = Sort(event=_ACTIVITY, type=_dcm("110121", "Application Stop"), action="E")
    LOG_USED = Sort(event=_dcm("110101", "Audit Log Used"), action="R")
    TRANSFER_BEGUN = Sort(event=_dcm("110102", "Begin Transferring DICOM Instances"), action="E")
    ACCESSED = Sort(event=_ACCESSED, action="R")
    ASSESSED = Sort(event=_ACCESSED, type=_own("Assessment made"), action="U")
    UNDONE = Sort(event=_ACCESSED, type=_own("Assessment undone"), action="U")
    TRANSFERRED = Sort(event=_dcm("110104", "DICOM Instances Transferred"), action="C")
    REPEATED = Sort(event=_dcm("110104", "DICOM Instances Transferred"), action="R")
    STUDY_DELETED = Sort(event=_dcm("110105", "DICOM Study Deleted"), action="D")
    EXPORTED = Sort(event=_dcm("110106", "Export"), action="R")
    REANALYSED = Sort(event=_PROCEDURE, type=_own("Analysis repeated"), action="U")
    CANCELED = Sort(event=_PROCEDURE, type=_own("Analysis canceled"), action="U")
    PRIORITISED = Sort(event=_PROCEDURE, type=_own("Priority changed"), action="U")
    WORKITEM_CHANGED = Sort(event=_PROCEDURE, type=_own("Workitem changed"), action="U")
    REDELIVERED = Sort(event=_PROCEDURE, type=_own("Delivery repeated"), action="U")
    QUERIED = Sort(event=_dcm("110112", "Query"), action="E")
    REFUSED = Sort(event=_ALERT, type=_dcm("110126", "Node Authentication"), action="E")
    RESTRICTED = Sort(event=_ALERT, type=_dcm("110132", "Use of Restricted Function"), action="E")
    PEOPLE_CHANGED = Sort(
        event=_ALERT, type=_dcm("110137", "User security Attributes Changed"), action="E"
    )
    MODEL_CHANGED = Sort(event=_ALERT, type=_dcm("110131", "Software Configuration"), action="E")
    RECORDS_REMOVED = Sort(event=_ALERT, type=_own("Audit records removed"), action="E")
    SIGNED_IN = Sort(event=_AUTHENTICATION, type=_dcm("110122", "Login"), action="E")
    SIGNED_OUT = Sort(event=_AUTHENTICATION, type=_dcm("110123", "Logout"), action="E")

    @property
    def is_alert(self) -> bool:
        """Whether it is a security alert, which names what was in danger."""
        return self.value.event is _ALERT
