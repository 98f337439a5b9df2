"""How exact a series must be to be a volume: each tolerance with its reason.

Widening one trades refusals for error, so who does should measure the scanners at hand first.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """Limits of the geometry gate.

    Attributes
    ----------
    direction
        Largest difference of a direction cosine between slices. They are written with 6 to 16
        digits; 0.001 moves the far corner of a 256 mm image by a quarter of a millimetre.
    pixel_spacing_mm
        Largest difference of pixel spacing between slices: half a millimetre over 512 pixels.
    same_place_mm
        Slices closer than this lie in the same place: real gaps start at 0.1 mm.
    uneven_mm, uneven_fraction_of_small, uneven_fraction
        How far a slice may lie from its even place: `uneven_mm`, twice what rounding to tenths of
        a millimetre does, but at most `uneven_fraction_of_small` of the gap; in wide gaps
        `uneven_fraction` of the gap, where that is more.
    square_deg
        A stack that leans less than this is square: the top of 200 mm moves by less than 0.7 mm.
        So is one whose last slice moves by less than a slice may lie beside the others.
    most_tilt_deg
        A stack that leans more is refused, less is straightened: gantries tilt by up to 30 degrees.
    beside_fraction
        How far a slice may lie beside the line of the others, as part of a pixel; `uneven_mm` is
        always allowed.
    least_slices
        Two positions are always even; three are the fewest that show it.
    least_spacing_mm, most_spacing_mm
        Pixel spacings outside are errors of writing: patients are imaged from 0.02 to 10 mm.
    most_pixels
        Longest side of a matrix that is decoded.
    spacing_claim
        A slice spacing in the header that differs from the positions by more than this part is
        noted.
    """

    direction: float = 1e-3
    pixel_spacing_mm: float = 1e-3
    same_place_mm: float = 0.02
    uneven_mm: float = 0.11
    uneven_fraction_of_small: float = 0.2
    uneven_fraction: float = 0.01
    square_deg: float = 0.2
    most_tilt_deg: float = 40.0
    beside_fraction: float = 0.2
    least_slices: int = 3
    least_spacing_mm: float = 0.01
    most_spacing_mm: float = 50.0
    most_pixels: int = 8192
    spacing_claim: float = 0.02


DEFAULT = Tolerances()
