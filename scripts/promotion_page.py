"""The report of a comparison as one page that needs no other file."""

from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape

from models.evidence import Compared, Evidence
from scripts.evaluation_page import STYLE

_WIDTH, _HEIGHT, _REACH = 220, 16, 3  # the axis goes to so many margins on either side


def page(evidence: Evidence) -> str:
    """Return the page: the verdict first, then every measure in every group."""
    verdict = "Refused" if evidence.refused else "Passed"
    at = datetime.fromtimestamp(evidence.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    told = {
        "model": evidence.model,
        "candidate": evidence.candidate,
        "served": evidence.served,
        "data set": f"{evidence.dataset} {evidence.dataset_version}, {evidence.split}",
        "cases": str(evidence.cases),
        "without a full answer": ", ".join(f"{k} {n}" for k, n in evidence.silent.items()),
        "compared": f"{at} by {evidence.who}",
        "report": evidence.digest,
    }
    lines = "".join(f"<li>{escape(name)}: {escape(text)}</li>" for name, text in told.items())
    reasons = "".join(f"<li>{escape(text)}</li>" for text in (*evidence.refused, *evidence.notes))
    rows = "".join(_row(row) for row in evidence.rows)
    bound = f"bound ({evidence.margins.confidence:.0%}, one-sided)"
    return (
        f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>{verdict}</title>"
        f"<style>{STYLE}</style><h1>{verdict}: {escape(evidence.model)}</h1><ul>{reasons}</ul>"
        f"<ul>{lines}</ul><h2>Gain of the candidate over the served version</h2>"
        "<p>The line is the gain from its bound on, red marks what may be lost at most.</p><table>"
        "<tr><th>measure<th>cases<th>patients<th>candidate<th>served<th>gain"
        f"<th>{bound}<th>margin<th>verdict<th>{rows}</table></html>\n"
    )


def _row(row: Compared) -> str:
    verdict = "worse" if row.is_worse else "not worse" if row.judged else "too few to judge"
    low = "-" if row.low is None else f"{row.low:+.4f}"
    return (
        f"<tr><th>{escape(f'{row.measure}, {row.group}')}<td>{row.cases}<td>{row.patients}"
        f"<td>{row.candidate:.4f}<td>{row.served:.4f}<td>{row.gain:+.4f}<td>{low}"
        f"<td>{row.margin:g}<td>{verdict}<td>{''.join(_drawn(row))}"
    )


def _drawn(row: Compared) -> Iterator[str]:
    reach = _REACH * max(row.margin, 1e-3)

    def place(value: float) -> float:
        return _WIDTH / 2 * (1 + max(-1.0, min(1.0, value / reach)))

    middle = _HEIGHT / 2
    yield f'<svg width={_WIDTH} height={_HEIGHT} role=img aria-label="gain {row.gain:+.4f}">'
    for value, colour in ((0.0, "#aaa"), (-row.margin, "#c33")):
        yield f'<path d="M{place(value):.1f} 0v{_HEIGHT}" stroke="{colour}"/>'
    if row.low is not None:
        yield f'<path d="M{place(row.low):.1f} {middle}H{place(row.gain):.1f}" stroke="#123"/>'
    yield f'<circle cx="{place(row.gain):.1f}" cy="{middle}" r=4 fill="#28a"/></svg>'
