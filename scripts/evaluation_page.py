"""An evaluation as one page that needs no other file: figures, plots, cases from the worst."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from scripts.evaluation_run import Answered

_SHOWN = 40
_SIDE = 160
STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem .7rem;border-bottom:1px solid #ccc;"
    "text-align:left}figure{display:inline-block;margin:.5rem;vertical-align:top;width:11rem}"
    "img{max-width:100%}"
)


def page(report: Mapping[str, Any], cases: Sequence[Answered]) -> str:
    """Return the page of a report; `cases` are in the order in which they are shown."""
    figures = "".join(_figures(name, rows) for name, rows in report["figures"].items())
    pictures = "".join(_picture(case) for case in cases[:_SHOWN])
    told = "".join(
        f"<li>{escape(f'{name}: {report[name]}')}</li>"
        for name in ("model", "model_digest", "dataset", "dataset_version", "split", "cases",
                     "answered", "abstained", "failed")
    )  # fmt: skip
    return (
        f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Evaluation</title>"
        f"<style>{STYLE}</style><h1>Evaluation of {escape(report['model'])}</h1>"
        f"<ul>{told}</ul>{figures}{_calibration(report.get('reliability', ()))}"
        f"<h2>Cases, the worst first</h2>{pictures}</html>\n"
    )


def _figures(name: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    lines = "".join(
        f"<tr><th>{escape(group)}<td>{_number(row['value'])}<td>{_number(row['low'])} to "
        f"{_number(row['high'])}<td>{row['count']}<td>{_bar(row)}"
        for group, row in rows.items()
    )
    return (
        f"<h2>{escape(name)}</h2><table><tr><th>cases<th>value<th>95 % interval<th>number<th>"
        f"{lines}</table>"
    )


def _bar(row: Mapping[str, Any]) -> str:
    """Draw a share from 0 to 1 with its interval; other values have no bar."""
    value = row["value"]
    if value is None or not 0 <= value <= 1:
        return ""
    low, high = (value if row[k] is None else row[k] for k in ("low", "high"))
    return (
        f'<svg width=200 height=14><rect width="{200 * value:.1f}" height=14 fill="#9bc"/>'
        f'<line x1="{200 * low:.1f}" x2="{200 * high:.1f}" y1=7 y2=7 stroke="#123"/></svg>'
    )


def _calibration(bins: Sequence[Mapping[str, Any]]) -> str:
    if not bins:
        return ""
    dots = "".join(
        f'<circle cx="{200 * b["confidence"]:.1f}" cy="{200 - 200 * b["accuracy"]:.1f}" r=4 '
        f'fill="#28a"><title>{b["count"]} cases</title></circle>'
        for b in bins
    )
    return (
        "<h2>Right answers (up) by confidence (right)</h2><svg width=200 height=200 "
        'style="border:1px solid #ccc"><line x1=0 y1=200 x2=200 y2=0 stroke="#aaa"/>'
        f"{dots}</svg>"
    )


def _picture(case: Answered) -> str:
    said = [f"{o.label}: " + (f"Dice {o.agreement.dice:.3f}" if o.agreement else o.abstained)
            for o in case.outlined]  # fmt: skip
    text = "; ".join([*said, *filter(None, (case.failed, case.abstained))])
    return f"<figure>{_image(case)}<figcaption>{escape(case.case.id)}<br>{escape(text)}</figure>"


def _image(case: Answered) -> str:
    """Show the slice with most of truth and answer: truth green, answer red, both yellow."""
    if case.voxels is None or case.truth is None or case.answer is None:
        return ""
    truth = case.truth > 0
    index = int((truth | case.answer).sum(axis=(1, 2)).argmax())
    plane = case.voxels[index]
    low, high = np.percentile(plane, (1, 99))
    grey = np.clip((plane - low) / max(high - low, 1e-6), 0, 1) * 255
    picture = np.repeat(grey[..., None], 3, axis=2)
    picture[truth[index], 1] = 255
    picture[case.answer[index], 0] = 255
    image = Image.fromarray(picture.astype(np.uint8))
    image.thumbnail((_SIDE, _SIDE))
    stream = BytesIO()
    image.save(stream, "PNG")
    return f'<img alt="" src="data:image/png;base64,{b64encode(stream.getvalue()).decode()}">'


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
