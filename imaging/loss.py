"""Compression with loss: what a header says of it, or its encoding where the header is silent."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from imaging.attributes import Attributes, text, texts, vector
from imaging.encodings import ENCODINGS

_LOST, _KEPT = "01", "00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """By which methods, one after the other, and how far altogether if that is told."""

    methods: str
    ratio: float | None


def loss_of(ds: Attributes, transfer_syntax_uid: str) -> Loss | None:
    """Return the loss of an image, if there was or may have been one (PS3.3 C.7.6.1.1.5).

    A codec that cannot keep every value is believed more than the header; one that may or may not
    is suspected only where the header does not say that nothing was lost.
    """
    said, encoding = text(ds, "LossyImageCompression"), ENCODINGS.get(transfer_syntax_uid)
    loses = encoding is not None and encoding.lossy
    may_lose = encoding is not None and encoding.may_lose and said != _KEPT
    if not (said == _LOST or loses or may_lose):
        return None
    named = " + ".join(filter(None, texts(ds, "LossyImageCompressionMethod")))
    codec = encoding.name if encoding and (loses or may_lose) else ""
    return Loss(methods=named or codec or "unknown", ratio=_ratio(ds))


def _ratio(ds: Attributes) -> float | None:
    """Return the ratio of all steps together: those of one after the other multiply."""
    whole = math.prod(vector(ds, "LossyImageCompressionRatio") or (0.0,))
    return whole if whole >= 1 else None


def in_words(losses: Iterable[Loss]) -> str:
    """Return methods and ratios, e.g. ``"ISO_10918_1, 8.2 - 12.5 : 1"``."""
    found = tuple(losses)
    methods = " / ".join(sorted({loss.methods for loss in found}))
    ratios = sorted({round(loss.ratio, 1) for loss in found if loss.ratio})
    ends = " - ".join(f"{ratio:g}" for ratio in dict.fromkeys((*ratios[:1], *ratios[-1:])))
    return f"{methods}, {ends} : 1" if ends else methods
