"""From the name of a structure, as people write it, to its SNOMED CT code; None where unsure."""

import re
from functools import cache

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as Term

from imaging.codes import Code

_SIDES = {"left", "right", "l", "r"}
# Words that data sets use, and those of SNOMED CT.
_SYNONYMS = {
    "tumour": "tumor",
    "bladder": "urinary bladder",
    "vertebrae": "vertebra",
    "hippocampal": "hippocampus",
    "haemorrhage": "hemorrhage",
    "small bowel": "small intestine",
    "large bowel": "large intestine",
    "clavicula": "clavicle",
    "oesophagus": "esophagus",
}


def code_named(name: str) -> Code | None:
    """Return the code whose name is `name` but for case, plural, side and separators."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    plain = " ".join(word for word in words if word not in _SIDES)
    for text in (" ".join(words), plain, plain.removesuffix("s"), plain.removesuffix("es")):
        found = _by_name().get(_SYNONYMS.get(text, text).replace(" ", ""))
        if found:
            return found
    return None


@cache
def _by_name() -> dict[str, Code]:
    found: dict[str, Code] = {}
    for keyword in dir(codes.SCT):
        term = getattr(codes.SCT, keyword)
        if not isinstance(term, Term):
            continue
        code = Code(term.value, "SCT", term.meaning)
        found.setdefault(keyword.lower().removesuffix("structure"), code)
        found[keyword.lower()] = code
    return found
