"""What goes into the work engine as JSON, shared by those who start work and those who do it."""

from typing import NotRequired, TypedDict

from imaging.reasons import Reason, reason_again
from imaging.sentences import Value

ANALYSE_STUDY = "analyse-study"
DELIVER_AGAIN = "deliver-again"
FILE_ASSESSMENT = "file-assessment"


_DIGEST_SHOWN = 12


def workitem_name(study_uid: str, content_digest: str, *which: str) -> str:
    """Return what an analysis is called: its study and content, and which of several it is."""
    return "-".join([study_uid, content_digest[:_DIGEST_SHOWN], *which])


class StudyTicket(TypedDict):
    """One content of one study to analyse.

    `completeness` and `arrival_text` say how it was found complete; `short` gives (received,
    expected) for each series that is not.
    """

    workitem_uid: str
    study_uid: str
    content_digest: str
    completeness: str
    arrival_text: str
    short: dict[str, list[int]]


class Together(TypedDict):
    """A part of another series that is read beside the one of an assignment."""

    series_uid: str
    stack: int


class Assignment(TypedDict):
    """One model's reading of one part of one series.

    `beside` are the other inputs of a model that has several, in their order.

    `digests` names the version of the model, and of those whose masks it needs, that were served
    when the study was planned; work from before versions had stages has none.
    """

    study: StudyTicket
    series_uid: str
    stack: int
    model: str
    destinations: list[str]
    digests: NotRequired[dict[str, str]]
    beside: NotRequired[list[Together]]


class SetAside(TypedDict):
    """The reason why something is not tried again."""

    code: str
    numbers: dict[str, Value]


class Plan(TypedDict):
    """What to do with a study."""

    assignments: list[Assignment]
    destinations: list[str]


class Sending(TypedDict):
    """Results to deliver, and to whom."""

    results: list[str]
    destinations: list[str]


def planned_digest(assignment: Assignment, model: str) -> str:
    """Return the digest of the version that was planned with; empty for the one served now."""
    return assignment.get("digests", {}).get(model, "")


def told(why: SetAside) -> Reason:
    """Return the reason that was recorded."""
    return reason_again(why["code"], why["numbers"])
