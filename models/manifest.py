"""A model's card, `model.toml`: who made it, what it needs and is fed, what its numbers mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from imaging.codes import Code
from imaging.findings import Urgency
from imaging.needs import Need


class Task(StrEnum):
    """What kind of answer the model gives."""

    SEGMENTATION = "segmentation"  # a probability for every voxel and label
    CLASSIFICATION = "classification"  # a probability for every class, by slice or series


class Kind(StrEnum):
    """What the package holds, and so how its network is run."""

    ONNX = "onnx"  # a file for ONNX Runtime; what goes in and comes out is in the manifest
    BUNDLE = "bundle"  # a MONAI bundle, which is code and says itself what goes in and comes out


class Sizing(StrEnum):
    """How the image gets the size that the network wants."""

    KEEP = "keep"  # any size will do
    STRETCH = "stretch"  # the whole block is resampled to the size, whatever its proportions
    PAD = "pad"  # cut or filled with zeros on both sides, the middle stays in the middle


class Scaling(StrEnum):
    """How intensities are brought to the network's range."""

    NONE = "none"
    MAXIMUM = "maximum"  # divided by the largest value
    RANGE = "range"  # lower..upper in image units to 0..1, cut off outside
    PERCENTILE = "percentile"  # lower..upper percentile of all voxels to 0..1, cut off outside
    ZSCORE = "zscore"  # mean 0, standard deviation 1 over all voxels


class Mode(StrEnum):
    """How the network sees the image."""

    WHOLE = "whole"  # at once
    SLIDING_WINDOW = "sliding_window"  # in overlapping patches, blended
    SLICES = "slices"  # one image for each slice of the first axis; networks of two dimensions


class Blending(StrEnum):
    """How overlapping patches are weighted."""

    CONSTANT = "constant"
    GAUSSIAN = "gaussian"  # sigma is an eighth of the patch


class Activation(StrEnum):
    """What is applied to the network's output to get probabilities."""

    NONE = "none"  # they are probabilities already
    SIGMOID = "sigmoid"  # labels may overlap
    SOFTMAX = "softmax"  # exactly one holds
    NUMBERS = "numbers"  # one map of the numbers of labels: the network has decided


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """Scaling of values; `lower` and `upper` as `scaling` says."""

    scaling: Scaling
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """The array that the network is fed.

    Attributes
    ----------
    axes
        Where the three array axes point in the patient, e.g. ``"RAS"``.
    spacing_mm
        Voxel spacing along the array axes, if the network wants one.
    size
        Along the array axes; for `Mode.SLICES` of one slice (1, rows, columns).
    crop
        Whether background around the patient is cut away first (for slices: in each slice).
    channels
        How many equal channels the network wants.
    channels_last
        Whether channels follow the array axes (as in NHWC) or come before them.
    intensity, intensities
        How values are scaled, and otherwise for these modalities.
    """

    axes: str
    spacing_mm: tuple[float, float, float] | None
    sizing: Sizing
    size: tuple[int, int, int] | None
    crop: bool
    channels: int
    channels_last: bool
    intensity: Intensity
    intensities: Mapping[str, Intensity] = field(default_factory=dict)

    def intensity_of(self, modality: str) -> Intensity:
        """Return how values of a modality are scaled."""
        return self.intensities.get(modality, self.intensity)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSpec:
    """How the network is run.

    Attributes
    ----------
    patch, overlap, blending
        For `Mode.SLIDING_WINDOW`; overlap is a fraction of the patch.
    batch
        Patches or slices in one call.
    step_mm
        For `Mode.SLICES`: distance between the slices that are read.
    gate
        For `Mode.SLICES`: the package whose mask chooses slices; "" takes all.
    gate_fraction
        Least mask area of a slice, as a fraction of the largest in the series.
    time_limit_s
        Longest time that reading a series may take; 0 leaves it to the settings.
    output
        Name of the network's output that is the answer; "" takes the first.
    """

    mode: Mode
    activation: Activation
    patch: tuple[int, int, int] | None
    overlap: float
    blending: Blending
    batch: int
    step_mm: float
    gate: str
    gate_fraction: float
    time_limit_s: float
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A structure the model outlines: codes, colour, and how its mask is made.

    `channel` is the network's output channel, by default the one before `number`; `values` are the
    numbers that stand for it where the network gives one map of numbers; `urgency` is that of a
    finding of this structure; `volume_ml`, its least and largest plausible volume, and
    `min_mean_probability` come before those of the package's checks.

    What hangs on the largest part by less than `bridge_mm` is left out, and so are parts smaller
    than `least_part_ml` and what lies outside the label numbered `inside`, which comes before.
    """

    number: int
    channel: int
    label: str
    category: Code
    type: Code
    cielab: tuple[float, float, float]
    threshold: float
    largest_component: bool
    fill_holes: bool
    urgency: Urgency
    volume_ml: tuple[float, float] | None = None
    min_mean_probability: float | None = None
    bridge_mm: float = 0.0
    least_part_ml: float = 0.0
    inside: int = 0
    values: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLabel:
    """A class the model tells apart: output index, name in a sentence, code, urgency if chosen."""

    index: int
    label: str
    concept: Code
    urgency: Urgency


class Derivation(StrEnum):
    """What is measured on the outlined structures beside their volumes; research only."""

    EVANS_INDEX = "evans_index"  # of the ventricles, within the skull: imaging.head.evans_index
    SIDES = "sides"  # of a structure: left, right, and how they differ
    DENSITIES = "densities"  # off the ventricles, within the skull, CT: odd regions


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A measure derived from label `of`; label `within` is what the skull encloses."""

    kind: Derivation
    of: int
    within: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """Bounds of what is plausible; outside them the model abstains. ``None``: not checked.

    Attributes
    ----------
    volume_ml
        Least and largest volume of a mask.
    min_mean_probability
        Of the voxels in the mask.
    max_rim_ratio
        Median intensity of the 6 mm around the mask over the median inside: a T1 brain lies in dark
        fluid and bone; a stripped brain, another contrast or another organ does not.
    max_cut_cm2
        Tissue that reaches the border of the image behind the mask, except below.
    max_neck_cm2
        Mask area 25 mm above the lower border of the image: a brain stem is narrow.
    min_slices, min_probability, min_agreement
        For classes: slices read, mean probability of the chosen class, and share of slices whose
        likeliest class it is.
    """

    volume_ml: tuple[float, float] | None
    min_mean_probability: float | None
    max_rim_ratio: float | None
    max_cut_cm2: float | None
    max_neck_cm2: float | None
    min_slices: int
    min_probability: float
    min_agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything the service must know about a model beside its weights.

    Attributes
    ----------
    uses
        Names of the packages whose mask of the same series this one needs.
    evaluation
        What was measured, and the figure, both as text.
    concept, site
        What the model's answer is about, and where.
    kind
        Of a bundle `file`, `input` and `inference` say nothing, but for the time limit.
    """

    name: str
    version: str
    title: str
    manufacturer: str
    task: Task
    intended_use: str
    limitations: str
    licence: str
    source: str
    file: str
    uses: tuple[str, ...]
    concept: Code
    site: Code
    evaluation: Mapping[str, str]
    needs: Need
    input: InputSpec
    inference: InferenceSpec
    labels: tuple[Label, ...]
    classes: tuple[ClassLabel, ...]
    checks: Checks
    kind: Kind = Kind.ONNX
    derived: tuple[Derived, ...] = ()
