"""Single images in every encoding, made in code, for tests of pixels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from imaging.frame_format import FrameFormat
from imaging.header import InstanceHeader, read_header
from tests.builders import ct_series

Array = NDArray[Any]

EXPLICIT = "1.2.840.10008.1.2.1"
BASELINE = "1.2.840.10008.1.2.4.50"
EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR = "1.2.840.10008.1.2.4.81"
J2K_LOSSLESS = "1.2.840.10008.1.2.4.90"
J2K = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
RLE = "1.2.840.10008.1.2.5"
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"


def picture(bits: int, *, signed: bool, shape: tuple[int, int] = (61, 47), seed: int = 0) -> Array:
    """A ramp, an edge and noise that use every bit, (row, column)."""
    random = np.random.default_rng((bits, signed, seed))
    low = -(1 << (bits - 1)) if signed else 0
    high = low + (1 << bits) - 1
    ramp = np.linspace(low, high, shape[0] * shape[1]).reshape(shape)
    ramp[:, shape[1] // 2 :] = high - (ramp[:, shape[1] // 2 :] - low)
    noisy = ramp + random.normal(0, max((high - low) / 300, 1), shape)
    noisy[0, :2] = low, high
    size = 8 if bits <= 8 else 16 if bits <= 16 else 32
    return np.clip(noisy.round(), low, high).astype(f"<{'i' if signed else 'u'}{size // 8}")


def form_of(stored: Array, syntax: str, bits: int, photometric: str = "MONOCHROME2") -> FrameFormat:
    """What a header would say of `stored`."""
    return FrameFormat(
        transfer_syntax_uid=syntax,
        photometric=photometric,
        rows=stored.shape[0],
        columns=stored.shape[1],
        samples=1 if stored.ndim == 2 else 3,
        bits_allocated=stored.dtype.itemsize * 8,
        bits_stored=bits,
        signed=stored.dtype.kind == "i",
        planar=False,
    )


def unsigned(stored: Array, bits: int) -> Array:
    """The same bits, for codecs that know no sign."""
    plain = stored.view(stored.dtype.str.replace("i", "u"))
    return plain & plain.dtype.type((1 << bits) - 1)


def jpeg_2000(stored: Array, bits: int, **options: Any) -> bytes:
    """A JPEG 2000 codestream, lossless unless `options` say otherwise."""
    options = {"reversible": True, "mct": False, **options}
    return bytes(
        imagecodecs.jpeg2k_encode(stored, codecformat="J2K", bitspersample=bits, **options)
    )


def rle(stored: Array) -> bytes:
    """An RLE frame (PS3.5 G.3): byte planes, most significant first, in runs and literals."""
    planes = np.moveaxis(stored[..., None].view("u1").reshape(*stored.shape, -1), -1, 0)[::-1]
    segments = [_packed(plane.tobytes(), plane.shape[1]) for plane in planes]
    starts = np.cumsum([64, *map(len, segments)])[:-1]
    offsets = np.zeros(15, "<u4")
    offsets[: len(segments)] = starts
    return len(segments).to_bytes(4, "little") + offsets.tobytes() + b"".join(segments)


def _packed(plane: bytes, columns: int) -> bytes:
    """PackBits, each row by itself; even length."""
    out = bytearray()
    for start in range(0, len(plane), columns):
        row = plane[start : start + columns]
        while row:
            run = len(row) - len(row.lstrip(row[:1]))
            run = min(run, 128)
            if run > 2:
                out += bytes((257 - run, row[0]))
            else:
                run = min(len(row), 5)
                out += bytes((run - 1,)) + row[:run]
            row = row[run:]
    return bytes(out) + b"\0" * (len(out) % 2)


ENCODERS: dict[str, Callable[[Array, int], bytes]] = {
    RLE: lambda stored, bits: rle(stored),
    JPEG_LOSSLESS: lambda stored, bits: bytes(
        imagecodecs.jpeg8_encode(unsigned(stored, bits), lossless=True, predictor=1,
                                 bitspersample=max(bits, 2))
    ),
    JPEG_LS: lambda stored, bits: bytes(imagecodecs.jpegls_encode(unsigned(stored, bits))),
    J2K_LOSSLESS: jpeg_2000,
}  # fmt: skip


def one(syntax: str, frame: bytes, stored: Array, bits: int, **header: Any) -> Dataset:
    """A CT image of `stored`, with `frame` as its pixel data."""
    ds = ct_series((1, *stored.shape[:2]))[0]
    ds.Rows, ds.Columns = stored.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = stored.dtype.itemsize * 8, bits, bits - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    if stored.ndim == 3:
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    native = syntax in {EXPLICIT, "1.2.840.10008.1.2"}
    ds.PixelData = frame + b"\0" * (len(frame) % 2) if native else encapsulate([frame])
    ds["PixelData"].VR = "OW" if native else "OB"
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    return ds


def written(ds: Dataset, path: Path) -> InstanceHeader:
    """The header of the image, after writing it."""
    dcmwrite(path, ds, enforce_file_format=True)
    return read_header(path)
