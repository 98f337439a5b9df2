"""Coded concepts by name: SNOMED CT (SCT), DICOM (DCM), UCUM and LOINC (LN)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept (PS3.3 section 8.8): value, scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A UCUM unit and how people write it."""

    value: str
    meaning: str

    @property
    def code(self) -> Code:
        """The unit as a coded concept."""
        return Code(self.value, "UCUM", self.meaning)


MILLILITRE = Unit("ml", "milliliter")
PERCENT = Unit("%", "percent")
ONE = Unit("1", "no units")
RATIO = Unit("{ratio}", "ratio")
HOUNSFIELD = Unit("[hnsf'U]", "Hounsfield unit")

VOLUME = Code("118565006", "SCT", "Volume")
BRAIN = Code("12738006", "SCT", "Brain")
HEAD = Code("69536005", "SCT", "Head")
TISSUE = Code("85756007", "SCT", "Tissue")
ANATOMICAL_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
PROBABILITY = Code("C90397", "NCIt", "Probability")
ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
MORPHOLOGY = Code("49755003", "SCT", "Morphologically Abnormal Structure")

# Ours: no standard code is known to us.
EVANS_INDEX = Code("EVANS_INDEX", "99WETREAD", "Evans index")
LEFT_VOLUME = Code("LEFT_VOLUME", "99WETREAD", "Volume on the left")
RIGHT_VOLUME = Code("RIGHT_VOLUME", "99WETREAD", "Volume on the right")
ASYMMETRY = Code("ASYMMETRY", "99WETREAD", "Left-right asymmetry")
HYPODENSE_LEFT = Code("HYPODENSE_LEFT", "99WETREAD", "Hypodense region candidate, left")
HYPODENSE_RIGHT = Code("HYPODENSE_RIGHT", "99WETREAD", "Hypodense region candidate, right")
HYPERDENSE_LEFT = Code("HYPERDENSE_LEFT", "99WETREAD", "Hyperdense region candidate, left")
HYPERDENSE_RIGHT = Code("HYPERDENSE_RIGHT", "99WETREAD", "Hyperdense region candidate, right")
