"""The answer: what a model found in one series, in the patient's frame, ready to be encoded."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from imaging.boxed import BoxedMask
from imaging.codes import Code, Unit
from imaging.geometry import Grid
from imaging.header import InstanceHeader
from imaging.reasons import Reason

Mask = NDArray[np.bool_]


class Urgency(StrEnum):
    """How soon a reader should see a finding, as its model's manifest says."""

    CRITICAL = "critical"  # minutes count
    URGENT = "urgent"  # today
    ROUTINE = "routine"  # in its turn
    NORMAL = "normal"  # nothing is wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """Which model, with which weights and settings, made the result.

    `device_uid` changes whenever the weights do (IHE AIR contributing equipment).
    """

    name: str
    version: str
    title: str
    manufacturer: str
    digest: str
    settings_digest: str
    device_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A number with its meaning and its UCUM unit."""

    name: Code
    value: float
    unit: Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassProbability:
    """The model's probability, 0 to 1, for one of its classes; uncalibrated unless said."""

    concept: Code
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segment:
    """A region of the source grid."""

    number: int
    label: str
    category: Code
    type: Code
    cielab: tuple[float, float, float]
    region: BoxedMask

    @property
    def mask(self) -> Mask:
        """The whole mask, boolean, (slice, row, column), made anew each time."""
        return self.region.whole()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One clinical statement.

    Attributes
    ----------
    tracking_id, tracking_uid
        Shared by the SR group, the SEG segment and the reader's later assessment.
    concept
        What was found (for a segmentation: the structure; for a class: the diagnosis).
    site
        Where, as coded anatomy.
    urgency
        How soon it should be seen.
    statement
        The finding in one English sentence, as shown to people.
    probability, probabilities
        Of the chosen class and of all classes; empty for a plain segmentation.
    segment_number
        The segment this finding measures, if any.
    evidence
        The instances that decided, as (SOP Instance UID, ...); key slices come first.
    key_instance
        The image to look at.
    abstained
        Set when the model ran but the numbers are not sound: then there are no measurements
        and no class, and this says why.
    """

    tracking_id: str
    tracking_uid: str
    concept: Code
    site: Code | None
    statement: str
    urgency: Urgency = Urgency.ROUTINE
    probability: float | None = None
    probabilities: tuple[ClassProbability, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    segment_number: int | None = None
    evidence: tuple[str, ...] = ()
    key_instance: str | None = None
    abstained: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """Everything one model says about one series.

    Attributes
    ----------
    instances
        The source images, in slice order of `grid`.
    result_key
        Derived from the input instances, the package digest and the settings digest; every result
        UID derives from it, so the same content always gets the same UIDs.
    created
        When the analysis started (time zone aware); the date and time of every result object.
    notes
        What a reader must know beside the findings (lossy input, completeness not confirmed, ...).
    beside
        Images of other series that the model read too; they are evidence.
    predecessors
        Results that this one supersedes, as (SOP Class UID, SOP Instance UID, Series UID) records.
    """

    algorithm: Algorithm
    grid: Grid
    instances: tuple[InstanceHeader, ...]
    findings: tuple[Finding, ...]
    segments: tuple[Segment, ...]
    result_key: str
    created: datetime
    notes: tuple[Reason, ...] = ()
    beside: tuple[InstanceHeader, ...] = ()
    predecessors: tuple["ObjectRef", ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """A reference to a stored DICOM instance."""

    sop_class_uid: str
    instance_uid: str
    series_uid: str
    study_uid: str
