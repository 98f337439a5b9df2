"""What a reader may say of a finding."""

from enum import StrEnum


class Verdict(StrEnum):
    """What a reader thinks of a finding."""

    ACCEPTED = "accepted"  # right as it is
    REJECTED = "rejected"  # wrong, with a reason
    CORRECTED = "corrected"  # right but for what was corrected
    WITHDRAWN = "withdrawn"  # an earlier verdict was taken back; there is none now


class RejectReason(StrEnum):
    """Why a finding is rejected; the value is what people read."""

    NOT_PRESENT = "not there"
    OTHER_DIAGNOSIS = "another diagnosis"
    WRONG_OUTLINE = "the outline is wrong"
    WRONG_MEASUREMENT = "the measurement is wrong"
    WRONG_PLACE = "another place"
    POOR_IMAGES = "the images are not good enough"
    NOT_RELEVANT = "right but not relevant"
    OTHER = "another reason, see comment"
