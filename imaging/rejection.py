"""Rejection notes: results that a later one replaces are withdrawn (IHE RAD IOCM).

A Key Object Selection Document (PS3.3 A.35.4, TID 2010) whose title says why its objects are not to
be used. The title is "Rejected for Patient Safety Reasons": a result of fewer images than there are
now may be wrong, and an archive that follows the profile then hides it. "Rejected for Quality
Reasons" leaves rejected objects in use where a site has so configured its archive, "Incorrect
Modality Worklist Entry" and "Data Retention Policy Expired" say something that is not so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom import Dataset

from imaging.codes import Code
from imaging.findings import ObjectRef
from imaging.identity import derived_uid
from imaging.objects import MANUFACTURER, Kind, Stamp, coded, finished, line, stand_in

TITLE = Code("113037", "DCM", "Rejected for Patient Safety Reasons")
_DEVICE = Code("121007", "DCM", "Device")
_WHY = "Replaced by a later result of Wetread on more or other images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Results that are withdrawn, and the one that takes their place."""

    rejected: tuple[ObjectRef, ...]
    heir_uid: str
    created: datetime


def rejection_note(rejection: Rejection, source: Dataset, *, wetread_version: str) -> Dataset:
    """Return the note in the study of `source`; the same results give the same note."""
    refs = sorted(rejection.rejected, key=lambda ref: ref.instance_uid)
    stamp = Stamp(
        kind=Kind.REJECTION,
        result_key=derived_uid("rejection", rejection.heir_uid, *(r.instance_uid for r in refs)),
        created=rejection.created,
        algorithm=None,
        wetread_version=wetread_version,
    )
    evidence = [stand_in(ref) for ref in refs]
    made = KeyObjectSelectionDocument(
        evidence=evidence,
        content=_content(evidence, stamp),
        series_instance_uid=stamp.series_uid,
        series_number=stamp.kind.value,
        sop_instance_uid=stamp.instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
    )
    return finished(made, source, stamp, description="Wetread rejection note")


def _content(evidence: Sequence[Dataset], stamp: Stamp) -> KeyObjectSelection:
    device = DeviceObserverIdentifyingAttributes(
        uid=stamp.uid("device"), name=MANUFACTURER, manufacturer_name=MANUFACTURER
    )
    return KeyObjectSelection(
        document_title=coded(TITLE),
        referenced_objects=evidence,
        observer_device_context=ObserverContext(coded(_DEVICE), device),
        description=line(_WHY, limit=len(_WHY)),
    )
