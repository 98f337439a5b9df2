"""The key image: one slice with outlines and the findings in words, for any viewer.

An RGB Secondary Capture (PS3.3 A.8.1), because many viewers show neither SEG nor SR.
"""

from typing import Any

import numpy as np
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from imaging.codes import Code
from imaging.findings import Report
from imaging.header import InstanceHeader
from imaging.objects import RESEARCH_ONLY, Kind, coded, finished, line, refer, stamp_of, words
from imaging.outline import outlines

_SOURCE_PURPOSE = Code("121322", "DCM", "Source image for image processing operation")
_LONGEST_SIDE = 768
_FONT_SIZE, _MARGIN, _LINE_HEIGHT = 17, 12, 23
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
# Directions closer to an axis than this do not name it: 0.25 is 75 degrees away.
_NAMED = 0.25
_OPPOSITE = str.maketrans("RLAPFH", "LRPAHF")


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
    picture = _square(_windowed(plane, window), report)
    _outline(picture, report, index)
    _mark_directions(picture, header)
    picture = _with_text(picture, _sentences(report, header))
    ds = _secondary_capture(np.asarray(picture), header)
    return finished(ds, source, stamp, description=f"Wetread {report.algorithm.name} key image")


def display_window(header: InstanceHeader, plane: NDArray[np.float32]) -> tuple[float, float]:
    """Return (centre, width): the sender's, else from the 1st to the 99th percentile of `plane`."""
    window = header.image.window
    if window and window[1] > 1:
        return window[0], window[1]
    low, high = np.percentile(plane, (1, 99))
    return float(low + high) / 2, max(float(high - low), 1.0)


def _windowed(plane: NDArray[np.float32], window: tuple[float, float]) -> Image.Image:
    centre, width = window
    grey = np.clip((plane - (centre - width / 2)) / width, 0, 1)
    return Image.fromarray((grey * 255).round().astype(np.uint8))


def _square(picture: Image.Image, report: Report) -> Image.Image:
    """Return `picture` in colour with square pixels, its longest side `_LONGEST_SIDE`."""
    _, between_rows, between_columns = report.grid.spacing_mm
    wide, high = picture.width * between_columns, picture.height * between_rows
    scale = _LONGEST_SIDE / max(wide, high)
    size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC).convert("RGB")


def _outline(picture: Image.Image, report: Report, index: int) -> None:
    draw = ImageDraw.Draw(picture)
    _, rows, columns = report.grid.shape
    abstained = {finding.segment_number for finding in report.findings if finding.abstained}
    for segment in report.segments:
        if segment.number in abstained:
            continue
        colour = CIELabColor(*segment.cielab).to_rgb()
        for outline in outlines(segment.mask[index]):
            points = outline * (picture.width / columns, picture.height / rows)
            draw.line([(float(x), float(y)) for x, y in points], fill=colour, width=2)


def _mark_directions(picture: Image.Image, header: InstanceHeader) -> None:
    """Write at the left and upper edges where the patient's sides are."""
    right, down = (letters.translate(_OPPOSITE) for letters in _directions(header))
    _mark(picture, right, place=(4, picture.height // 2), anchor="lm")
    _mark(picture, down, place=(picture.width // 2, 4), anchor="ma")


def _mark(picture: Image.Image, text: str, *, place: tuple[int, int], anchor: str) -> None:
    draw = ImageDraw.Draw(picture)
    draw.text(place, text, _WHITE, _font(), anchor=anchor, stroke_width=2, stroke_fill=_BLACK)


def _directions(header: InstanceHeader) -> tuple[str, str]:
    """Return where rows and columns run, as letters of Patient Orientation (PS3.3 C.7.6.1.1.1)."""
    orientation = np.array(header.image.orientation or (1, 0, 0, 0, 1, 0))
    return _letters(orientation[:3]), _letters(orientation[3:])


def _letters(direction: NDArray[np.float64]) -> str:
    order = np.argsort(-np.abs(direction), kind="stable")
    return "".join(
        ("RAF" if direction[i] < 0 else "LPH")[i] for i in order if abs(direction[i]) > _NAMED
    )


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
        draw.text((_MARGIN, top), text, _WHITE, _font())
    return page


def _wrapped(text: str, width: int) -> list[str]:
    """Break `text` between words, and inside a word that is wider than a line."""
    font, lines = _font(), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        lines.append("")
        for letter in word:
            if font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return [part for part in lines if part]


def _font() -> Any:
    return ImageFont.load_default(_FONT_SIZE)


def _secondary_capture(pixels: NDArray[np.uint8], header: InstanceHeader) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.Modality, ds.ConversionType = "OT", "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    if header.series.body_part:
        ds.BodyPartExamined = line(header.series.body_part, limit=16)
    else:
        ds.Laterality = ""  # may only be absent where the body part says it is not paired
    ds.PatientOrientation = list(_directions(header))
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
