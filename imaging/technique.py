"""How images were made, as far as it tells models apart: MR pulse sequence, contrast, anatomy."""

from dataclasses import dataclass

from imaging.attributes import Attributes, integer, items, text, texts
from imaging.codes import Code
from imaging.private import Private, private_numbers

_GE_COMPONENT = Private(0x0043, "GEMS_PARM_01", 0x2F, "SS")
_COMPONENTS = {0: "MAGNITUDE", 1: "PHASE", 2: "REAL", 3: "IMAGINARY"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Technique:
    """Attributes of the MR Image, MR Pulse Sequence, Contrast/Bolus and anatomy modules.

    Attributes
    ----------
    mr_acquisition
        MR Acquisition Type: ``"2D"`` or ``"3D"``.
    echo_pulse, mr_contrast, inversion_recovery
        Echo Pulse Sequence, Acquisition Contrast and Inversion Recovery of enhanced MR (PS3.3
        C.8.13.4, C.8.13.3), "" elsewhere.
    angio
        Angio Flag is Y (PS3.3 C.8.3.1).
    contrast_coded
        A contrast agent is named by a code (PS3.3 C.7.6.4, C.7.6.4b).
    anatomy
        Anatomic Region Sequence (PS3.3 Table 10-7), of the frame or of the instance.
    """

    mr_acquisition: str
    sequence_variant: tuple[str, ...]
    scan_options: tuple[str, ...]
    echo_train: int | None
    echo_pulse: str
    mr_contrast: str
    inversion_recovery: bool
    angio: bool
    contrast_coded: bool
    anatomy: tuple[Code, ...]


def technique_of(ds: Attributes) -> Technique:
    """Return the technique of an instance or of one frame."""
    return Technique(
        mr_acquisition=text(ds, "MRAcquisitionType").upper(),
        sequence_variant=texts(ds, "SequenceVariant"),
        scan_options=texts(ds, "ScanOptions"),
        echo_train=integer(ds, "EchoTrainLength"),
        echo_pulse=text(ds, "EchoPulseSequence").upper(),
        mr_contrast=text(ds, "AcquisitionContrast").upper(),
        inversion_recovery=text(ds, "InversionRecovery").upper() == "YES",
        angio=text(ds, "AngioFlag").upper() == "Y",
        contrast_coded=bool(items(ds, "ContrastBolusAgentSequence")),
        anatomy=tuple(_code(item) for item in items(ds, "AnatomicRegionSequence")),
    )


def complex_component(ds: Attributes) -> str:
    """Return Complex Image Component (PS3.3 C.8.13.3.1.2), or what GE writes in its place."""
    ge = private_numbers(ds, _GE_COMPONENT)
    return text(ds, "ComplexImageComponent") or (_COMPONENTS.get(int(ge[0]), "") if ge else "")


def _code(item: Attributes) -> Code:
    value = text(item, "CodeValue") or text(item, "LongCodeValue")
    return Code(value, text(item, "CodingSchemeDesignator"), text(item, "CodeMeaning"))
