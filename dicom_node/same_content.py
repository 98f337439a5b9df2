"""Whether two files hold the same data set in different encodings.

A PACS may send our own result back with other sequence lengths, with group lengths, or in another
native transfer syntax. That is the same instance, not a conflict.
"""

from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID

from imaging.errors import InputError

_PADDING = 0xFFFCFFFC  # Data Set Trailing Padding, PS3.10 7.2


def same_content(one: bytes, other: bytes) -> bool:
    """Whether two Part 10 files are equal as data sets (compressed pixels: byte by byte)."""
    try:
        return _canonical(one) == _canonical(other)
    except (InputError, ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        return False  # what cannot be read and written again cannot be shown to be equal


def _canonical(part10: bytes) -> bytes:
    ds = dcmread(BytesIO(part10))
    syntax: UID = ds.file_meta.TransferSyntaxUID
    _strip(ds)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_dataset(buffer, ds)
    body = buffer.getvalue()
    return syntax.encode() + body if syntax.is_encapsulated else body


def _strip(ds: Dataset) -> None:
    """Leave only content: decode every element, drop group lengths, padding and open lengths."""
    for tag in [tag for tag in ds.keys() if tag.element == 0 or tag == _PADDING]:  # noqa: SIM118
        del ds[tag]
    for element in ds:
        if element.VR != "SQ":
            continue
        element.is_undefined_length = False
        for item in element.value:
            item.is_undefined_length_sequence_item = False
            _strip(item)
