"""In which media type and transfer syntax instances, frames and bulk data are given (PS3.18 8.7.3).

``transfer-syntax=*`` and ``*/*`` take what is stored. A media type without transfer syntax means
Explicit VR Little Endian, uncompressed, as the standard says; what cannot be decoded is then given
as it is stored.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.uid import ExplicitVRLittleEndian

from imaging.encodings import ENCODINGS
from serving.dicomweb.accept import ANY_SYNTAX, DICOM, OCTETS, MediaRange, not_acceptable

# Media types of compressed frames (PS3.18 table 8.7.3-5).
_IMAGE_TYPES = {
    f"1.2.840.10008.1.2{suffix}": media_type
    for media_type, suffixes in (
        ("image/jpeg", (".4.50", ".4.51", ".4.57", ".4.70")),
        ("image/jls", (".4.80", ".4.81")),
        ("image/jp2", (".4.90", ".4.91")),
        ("image/jpx", (".4.92", ".4.93")),
        ("image/jphc", (".4.201", ".4.202", ".4.203")),
        ("image/dicom-rle", (".5",)),
        ("video/mpeg2", (".4.100", ".4.101")),
        ("video/mp4", tuple(f".4.{number}" for number in range(102, 109))),
    )
    for suffix in suffixes
}
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How something is given: in parts or as one body, of which type, and as stored or plain."""

    multipart: bool
    media_type: str
    as_stored: bool


def instances_as(ranges: Sequence[MediaRange], syntaxes: Iterable[str], *, one: bool) -> Form:
    """Return how instances in these stored transfer syntaxes are given.

    Raises
    ------
    HTTPException
        406: no accepted form can be given of all of them.
    """
    stored = frozenset(syntaxes)
    for each in ranges:
        multipart = each.multipart or not one or each.inner != DICOM
        if not each.takes(DICOM) or (not one and each.inner == DICOM and not each.multipart):
            continue
        as_stored = _as_stored(each, stored, plain_by_default=each.inner == DICOM)
        if as_stored is not None:
            return Form(multipart=multipart, media_type=DICOM, as_stored=as_stored)
    raise not_acceptable([f'multipart/related; type="{DICOM}"'])


def frames_as(ranges: Sequence[MediaRange], syntax: str, *, one: bool) -> Form:
    """Return how frames in a stored transfer syntax are given; 406 as `instances_as`."""
    image = _IMAGE_TYPES.get(syntax, OCTETS)
    for each in ranges:
        if not each.multipart and not one and each.inner != "*/*":
            continue
        multipart = each.multipart or each.inner == "*/*"
        if each.inner != OCTETS and each.takes(image) and each.transfer_syntax in {"", "*", syntax}:
            return Form(multipart=multipart, media_type=image, as_stored=image != OCTETS)
        if each.takes(OCTETS):
            as_stored = _as_stored(each, frozenset((syntax,)), plain_by_default=True)
            if as_stored is not None:
                return Form(multipart=multipart, media_type=OCTETS, as_stored=as_stored)
    raise not_acceptable([f'multipart/related; type="{name}"' for name in {OCTETS, image}])


def bulk_as(ranges: Sequence[MediaRange], media_type: str) -> Form:
    """Return how a binary value of a media type is given; 406 as `instances_as`."""
    for each in ranges:
        for offered in (media_type, OCTETS):
            if each.takes(offered):
                return Form(multipart=each.multipart, media_type=offered, as_stored=True)
    raise not_acceptable([media_type, OCTETS])


def _as_stored(each: MediaRange, stored: frozenset[str], *, plain_by_default: bool) -> bool | None:
    """Whether the range takes what is stored; ``None`` when neither it nor plain can be given."""
    wanted = each.transfer_syntax or (ExplicitVRLittleEndian if plain_by_default else ANY_SYNTAX)
    if wanted == ANY_SYNTAX or stored == {wanted}:
        return True
    can_be_plain = not each.transfer_syntax or all(uid in ENCODINGS for uid in stored)
    return False if wanted == ExplicitVRLittleEndian and can_be_plain else None


def is_plain(form: Form, syntax: str) -> bool:
    """Whether something in this stored transfer syntax is given uncompressed."""
    return not form.as_stored and syntax in ENCODINGS
