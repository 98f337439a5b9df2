"""What goes back to a sender for each way an instance can fail: the one table of DIMSE statuses.

PS3.4 B.2.3 and PS3.7 C.5; STOW-RS answers with the same numbers as Failure Reason
(PS3.18 I.2.2). An instance whose UID is already here with other content is answered "duplicate SOP
instance": success would tell the sender that we hold what it sent, and we never replace.
"""

from enum import IntEnum

from imaging.errors import (
    Conflict,
    InstanceMismatch,
    NotAuthorized,
    SetupError,
    SopClassMismatch,
    SopClassNotSupported,
    WetreadError,
)


class Status(IntEnum):
    """Statuses that we send for a C-STORE request."""

    SUCCESS = 0x0000
    """Kept, or here already with the same content."""
    DUPLICATE_SOP_INSTANCE = 0x0111
    """Other content is here under the same UID; both are kept, the first one counts."""
    INVALID_SOP_INSTANCE = 0x0117
    """The SOP Instance UID is not one, or is not that of the command."""
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    """The SOP class is not that of the presentation context."""
    NOT_AUTHORIZED = 0x0124
    """This peer may not store here."""
    OUT_OF_RESOURCES = 0xA700
    """No space, or the archive or database cannot be written now: worth trying again."""
    DATA_SET_DOES_NOT_MATCH = 0xA900
    """The data set is not of the SOP class in the command."""
    CANNOT_UNDERSTAND = 0xC000
    """The data set is damaged or contradicts itself or the study it claims to be of."""


_STATUS: tuple[tuple[type[WetreadError], Status], ...] = (
    (NotAuthorized, Status.NOT_AUTHORIZED),
    (SopClassNotSupported, Status.SOP_CLASS_NOT_SUPPORTED),
    (SopClassMismatch, Status.DATA_SET_DOES_NOT_MATCH),
    (InstanceMismatch, Status.INVALID_SOP_INSTANCE),
    (Conflict, Status.DUPLICATE_SOP_INSTANCE),
    (SetupError, Status.OUT_OF_RESOURCES),
)


def status_of(error: WetreadError) -> Status:
    """Return the status that answers an error."""
    found = (status for kind, status in _STATUS if isinstance(error, kind))
    return next(found, Status.CANNOT_UNDERSTAND)
