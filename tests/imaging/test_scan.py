import struct
import zlib
from io import BytesIO

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from imaging.errors import MalformedInstance
from imaging.scan import inflate, scan

PIXEL_DATA = 0x7FE00010


def encoded(syntax, *, undefined=False) -> bytes:
    ds = Dataset()
    ds.SOPInstanceUID = "1.2.3"
    inner = Dataset()
    inner.CodeValue = "X"
    ds.ProcedureCodeSequence = Sequence([inner])
    ds["ProcedureCodeSequence"].is_undefined_length = undefined
    inner.is_undefined_length_sequence_item = undefined
    ds.PatientComments = "c" * 100
    ds.Rows, ds.Columns, ds.BitsAllocated = 2, 3, 8
    ds.PixelData = bytes(range(6))
    ds["PixelData"].VR = "OB"
    stream = BytesIO()
    little = syntax != ExplicitVRBigEndian
    implicit = syntax == ImplicitVRLittleEndian
    dcmwrite(stream, ds, little_endian=little, implicit_vr=implicit)
    return stream.getvalue()


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
@pytest.mark.parametrize("undefined", [False, True])
def test_pixels_lie_where_the_layout_says(syntax, undefined):
    data = encoded(syntax, undefined=undefined)
    layout = scan(data, syntax)
    assert layout.pixels is not None
    found = data[layout.pixels.offset : layout.pixels.offset + layout.pixels.length]
    assert found == bytes(range(6))
    assert layout.header_length < layout.pixels.offset
    assert PIXEL_DATA in layout.elements


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_every_cut_inside_an_element_is_found(syntax):
    data = encoded(syntax, undefined=True)
    whole = set(boundaries(data, syntax))
    for end in range(1, len(data)):
        if end in whole:
            continue
        with pytest.raises(MalformedInstance):
            scan(data[:end], syntax)


def boundaries(data: bytes, syntax):
    """Ends of top-level elements, where a cut cannot be told from a shorter data set."""
    for extent in scan(data, syntax).elements.values():
        if extent.length != 0xFFFFFFFF:
            yield extent.offset + extent.length
    sequence_end = data.find(b"\xfe\xff\xdd\xe0")
    yield sequence_end + 8


def test_deflated_data_are_inflated_within_a_limit():
    plain = encoded(ExplicitVRLittleEndian)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(plain) + deflater.flush()
    assert scan(deflated, DeflatedExplicitVRLittleEndian).pixels is not None
    bomb = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = bomb.compress(bytes(10_000_000)) + bomb.flush()
    with pytest.raises(MalformedInstance, match="larger than"):
        inflate(data, limit=1_000_000)


def test_bottomless_nesting_is_refused_quickly():
    opened = struct.pack("<HHI", 0x0040, 0xA730, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    with pytest.raises(MalformedInstance, match="nested"):
        scan(opened * 20_000, ImplicitVRLittleEndian)


def test_a_length_of_four_gigabytes_is_refused():
    data = struct.pack("<HHI", 0x7FE0, 0x0010, 0xFFFFFFF0) + bytes(100)
    with pytest.raises(MalformedInstance, match="declares"):
        scan(data, ImplicitVRLittleEndian)


def test_fragments_are_found():
    def item(data: bytes) -> bytes:
        return struct.pack("<HHI", 0xFFFE, 0xE000, len(data)) + data

    head = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    data = head + item(b"") + item(b"abcd") + item(b"ef") + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    layout = scan(data, "1.2.840.10008.1.2.4.80")
    assert layout.pixels is not None
    assert layout.pixels.fragments is not None
    assert [data[o : o + n] for o, n in layout.pixels.fragments] == [b"", b"abcd", b"ef"]
    with pytest.raises(MalformedInstance, match="no end"):
        scan(data[:-8], "1.2.840.10008.1.2.4.80")
