"""Whether images are as they were acquired or were made from others (PS3.3 C.7.6.1.1.2)."""

from imaging.header import InstanceHeader
from imaging.words import says

PRIMARY, REFORMATTED, DERIVED = "primary", "reformatted", "derived"
PROJECTED, SUBTRACTED, CALCULATED = "projected", "subtracted", "calculated"
ORIGINS = (PRIMARY, REFORMATTED, DERIVED, PROJECTED, SUBTRACTED, CALCULATED)

# Words of Image Type and Frame Type, and of descriptions where Image Type is silent.
_KINDS = {
    PROJECTED: """
        mip, minip, mnip, min ip, projection image, maximum, minimum, vrt, vr, ssd,
        volume rendering, 3d rendering, thick mip
    """,
    SUBTRACTED: "sub, subtraction, subtracted, subtrakt*, dsa",
    CALCULATED: """
        adc, eadc, adc map, exponential, fa, fractional, fractional anisotropy, cbf, cbv, rcbf,
        rcbv, mtt, ttp, tmax, ktrans, t1 map, t2 map, t2star map, r2 map, r2star map,
        t2 star map, r2star, map, perfusion map, velocity, phase map, b0 map, b1 map
    """,
    REFORMATTED: """
        mpr, csamplr, reformatted, reformat, cpr, mpvr, rekon, 重建, 重组
    """,
}


def origin(header: InstanceHeader) -> str:
    """Return how the images of a series came to be: one of the names in this module."""
    values = tuple(value.strip().lower() for value in header.acquisition.image_type)
    typed = _kind(" | ".join(values[2:]))
    if typed:
        return typed
    if values and values[0] == "original":
        return PRIMARY
    return _kind(header.series.description) or (DERIVED if values else PRIMARY)


def _kind(text: str) -> str:
    return next((kind for kind, words in _KINDS.items() if says(text, words)), "")
