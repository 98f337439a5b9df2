"""What must hold for an instance before it is kept: readable, itself, and with all its pixels."""

from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_node.archive import Encoded
from imaging.errors import InstanceMismatch, MalformedInstance, SopClassMismatch
from imaging.header import InstanceHeader, header_of, read_dataset
from imaging.identity import checked_uid
from imaging.image import Image
from imaging.scan import STANDARD, Bounds, Layout, scan

NATIVE = frozenset(
    (
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    )
)
_SUBSAMPLED = {"YBR_FULL_422": 2, "YBR_PARTIAL_422": 2}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """A sound instance: its header, and the data set without its pixel data."""

    header: InstanceHeader
    dataset: Dataset


def checked_header(encoded: Encoded, bounds: Bounds = STANDARD) -> InstanceHeader:
    """Return the header of a sound instance; errors as `checked`."""
    layout = scan(encoded.dataset, encoded.transfer_syntax_uid, bounds)
    return checked(encoded, layout, bounds).header


def checked(encoded: Encoded, layout: Layout, bounds: Bounds = STANDARD) -> Checked:
    """Return a sound instance, whose elements lie where `layout` says.

    Raises
    ------
    InstanceMismatch, SopClassMismatch
        The data set is not what its sender says it is.
    MalformedInstance
        It is damaged or out of bounds, or its pixel data are shorter than its header says.
    """
    _require_uid(encoded.instance_uid)
    checked_uid(encoded.sop_class_uid, "SOP Class UID")
    checked_uid(encoded.transfer_syntax_uid, "Transfer Syntax UID")
    dataset = read_dataset(encoded.part10() + _without_pixels(encoded, layout))
    header = header_of(dataset)
    if header.instance_uid != encoded.instance_uid:
        msg = "the SOP Instance UID of the data set is not the one of the command"
        raise InstanceMismatch(msg)
    if header.sop_class_uid != encoded.sop_class_uid:
        msg = "the SOP Class UID of the data set is not the one of the command"
        raise SopClassMismatch(msg)
    _require_within(header.image, bounds)
    _require_whole_pixels(header, layout)
    return Checked(header=header, dataset=dataset)


def _require_within(image: Image, bounds: Bounds) -> None:
    """Refuse what would be too large once it is decoded."""
    sizes = (image.rows, image.columns, image.bits_allocated, image.samples)
    frames = image.frames or 1
    rows, columns, bits, samples = (size or 0 for size in sizes)
    decoded = rows * columns * samples * frames * bits // 8
    if frames > bounds.frames or decoded > bounds.decoded_bytes:
        msg = f"{frames} frames, {decoded} bytes when decoded: too large"
        raise MalformedInstance(msg)


def _require_uid(instance_uid: str) -> None:
    try:
        checked_uid(instance_uid, "SOP Instance UID")
    except MalformedInstance as error:
        raise InstanceMismatch(str(error)) from error


def _without_pixels(encoded: Encoded, layout: Layout) -> bytes:
    """Spare the parser the pixels; in a deflated data set they cannot be told apart."""
    if encoded.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        return encoded.dataset
    return encoded.dataset[: layout.header_length]


def _require_whole_pixels(header: InstanceHeader, layout: Layout) -> None:
    """Refuse uncompressed pixel data shorter than PS3.5 8.1.1 asks for; longer ones occur."""
    if layout.pixels is None or header.transfer_syntax_uid not in NATIVE:
        return
    if layout.pixels.fragments is not None:
        msg = "encapsulated pixel data in a native transfer syntax"
        raise MalformedInstance(msg)
    expected = _native_length(header.image)
    if layout.pixels.length < expected:
        msg = f"{layout.pixels.length} bytes of pixel data where {expected} must be"
        raise MalformedInstance(msg)


def _native_length(image: Image) -> int:
    """Bytes of native pixel data, without the byte that makes the length even.

    None are asked of an object that describes no image at all, but half a description is damage.
    """
    plane = (image.rows, image.columns, image.bits_allocated)
    if plane == (None, None, None):
        return 0
    sizes = (*plane, image.frames)
    if any(size is None or size <= 0 for size in sizes):
        msg = "there are pixel data but rows, columns, bits or frames are missing"
        raise MalformedInstance(msg)
    rows, columns, bits, frames = (int(size) for size in sizes if size is not None)
    samples = _SUBSAMPLED.get(image.photometric, image.samples)
    return (rows * columns * samples * bits * frames + 7) // 8
