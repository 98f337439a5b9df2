"""The key image: one slice with outlines and the findings in words, for any viewer.

An RGB Secondary Capture (PS3.3 A.8.1), because many viewers show neither SEG nor SR.
"""

from collections.abc import Iterator

import numpy as np
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from imaging.codes import Code
from imaging.findings import Mask, Report
from imaging.header import InstanceHeader
from imaging.objects import RESEARCH_ONLY, Kind, coded, finished, line, refer, stamp_of, words
from imaging.slice_picture import Colour, directions, font, grey, slice_picture
from imaging.windows import auto_window, sender_window

_SOURCE_PURPOSE = Code("121322", "DCM", "Source image for image processing operation")
_LONGEST_SIDE = 768
_MARGIN, _LINE_HEIGHT = 12, 23
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def key_image(
    report: Report,
    source: Dataset,
    *,
    plane: NDArray[np.float32],
    index: int,
    window: tuple[float, float],
    wetread_version: str,
) -> Dataset:
    """Return slice `index` of the report's grid, its segments outlined and its findings written.

    `plane` is the slice in real-world values, (row, column); `window` is (centre, width) in the
    same units. Pixels of the result are square. No patient name or ID is drawn.
    """
    stamp = stamp_of(report, Kind.KEY_IMAGE, wetread_version)
    header = report.instances[index]
    picture = slice_picture(
        grey(plane, window, photometric=header.image.photometric),
        header,
        spacing_mm=report.grid.spacing_mm[1:],
        longest_side=_LONGEST_SIDE,
        regions=_regions(report, index),
    )
    picture = _with_text(picture, _sentences(report, header))
    ds = _secondary_capture(np.asarray(picture), header)
    return finished(ds, source, stamp, description=f"Wetread {report.algorithm.name} key image")


def display_window(header: InstanceHeader, plane: NDArray[np.float32]) -> tuple[float, float]:
    """Return (centre, width): the sender's, else from the 1st to the 99th percentile of `plane`."""
    return sender_window(header) or auto_window(plane)


def _regions(report: Report, index: int) -> Iterator[tuple[Mask, Colour]]:
    abstained = {finding.segment_number for finding in report.findings if finding.abstained}
    for segment in report.segments:
        if segment.number not in abstained:
            red, green, blue = (round(c) for c in CIELabColor(*segment.cielab).to_rgb(clip=True))
            yield segment.mask[index], (red, green, blue)


def _sentences(report: Report, header: InstanceHeader) -> list[str]:
    algorithm = report.algorithm
    number = header.instance_number
    return [
        *(finding.statement for finding in report.findings),
        *(f.abstained.text for f in report.findings if f.abstained),
        f"{algorithm.title} ({algorithm.name} {algorithm.version}), Wetread"
        + (f", image {number}" if number is not None else ""),
        f"{RESEARCH_ONLY}.",
    ]


def _with_text(picture: Image.Image, sentences: list[str]) -> Image.Image:
    """Return `picture` above a band that is as high as the wrapped text needs."""
    width = max(picture.width, _LONGEST_SIDE // 2)
    lines = [part for text in sentences for part in _wrapped(words(text), width - 2 * _MARGIN)]
    height = picture.height + 2 * _MARGIN + len(lines) * _LINE_HEIGHT
    page = Image.new("RGB", (width, height), _BLACK)
    page.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(page)
    for place, text in enumerate(lines):
        top = picture.height + _MARGIN + place * _LINE_HEIGHT
        draw.text((_MARGIN, top), text, _WHITE, font())
    return page


def _wrapped(text: str, width: int) -> list[str]:
    """Break `text` between words, and inside a word that is wider than a line."""
    face, lines = font(), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) <= width:
            lines[-1] = longer
            continue
        lines.append("")
        for letter in word:
            if face.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return [part for part in lines if part]


def _secondary_capture(pixels: NDArray[np.uint8], header: InstanceHeader) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.Modality, ds.ConversionType = "OT", "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    if header.series.body_part:
        ds.BodyPartExamined = line(header.series.body_part, limit=16)
    else:
        ds.Laterality = ""  # may only be absent where the body part says it is not paired
    ds.PatientOrientation = list(directions(header))
    ds.BurnedInAnnotation = "YES"
    ds.LossyImageCompression = "01" if header.image.loss else "00"
    ds.DerivationDescription = "Windowed, resampled to square pixels, outlines and text drawn"
    ds.SourceImageSequence = [_source(header)]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    data = pixels.tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB"
    return ds


def _source(header: InstanceHeader) -> Dataset:
    item = Dataset()
    refer(item, header)
    item.PurposeOfReferenceCodeSequence = [coded(_SOURCE_PURPOSE)]
    return item
