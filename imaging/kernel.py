"""What a CT reconstruction kernel is for: soft tissue, bone or lung, by the vendors' names."""

import re

from imaging.header import InstanceHeader
from imaging.words import joined, says

SOFT, BONE, LUNG, UNKNOWN = "soft", "bone", "lung", "unknown"
KERNELS = (SOFT, BONE, LUNG)

_NAMES = {
    LUNG: re.compile(r".*LUNG.*|L|BL[4-6][0-9].*|B80[A-Z]*|FC(?:5[0-6]|86)(?:[-_ ].*)?"),
    BONE: re.compile(
        r".*BONE.*|EDGE.*|ULTRA|HD ?(?:EDGE|ULTRA).*|Y[DE]|E|D|.*SHARP.*"
        r"|[BHTVJI][67][0-9][A-Z]*|U[6-9][0-9][A-Z]*|[BHQ][A-Z][67][0-9].*"
        r"|FC(?:3[015]|8[0-5])(?:[-_ ].*)?"
    ),
    SOFT: re.compile(
        r"STANDARD.*|STD.*|STND.*|.*SOFT.*|SMOOTH.*|DETAIL.*|CHE?ST.*|BRAIN.*"
        r"|[ABC]|U[ABC]|E[BC]|Y[AB]|[BHJIT][1-4][0-9][A-Z]*|[BHQ][A-Z][1-4][0-9].*"
        r"|FC(?:0?[1-9]|[124][0-9]|6[0-9])(?:[-_ ].*)?"
    ),
}
_WORDS = {
    LUNG: """
        lung, lungs, lunge, lungenfenster, poumon, pulmonaire, parenchyme, pulmón, pulmon,
        polmone, pulmão, longen, легк*, лёгк*, 肺窗, 肺野
    """,
    BONE: """
        bone, bones, knochen, knochenfenster, osseux, hueso, óseo, osso, óseas, кост*, 骨窗,
        骨算法, 骨条件
    """,
    SOFT: """
        soft, soft tissue, standard, weichteil, weichteile, brain, parties molles, mou,
        partes blandas, tessuti molli, partes moles, мягк*, 软组织, 標準, 标准, 軟部
    """,
}


def kernel_kind(header: InstanceHeader) -> str:
    r"""Return ``SOFT``, ``BONE``, ``LUNG`` or ``UNKNOWN``; the name of the kernel decides.

    Iterative kernels of Siemens have a strength after a backslash or a suffix (``I30f\\3``,
    ``Br40d``), Canon's and Philips' are letters and numbers alone.
    """
    name = header.acquisition.kernel.split("\\")[0].strip().upper()
    for kind, pattern in _NAMES.items():
        if name and pattern.fullmatch(name):
            return kind
    said = joined((name, header.series.description, header.series.protocol))
    return next((kind for kind, words in _WORDS.items() if says(said, words)), UNKNOWN)
