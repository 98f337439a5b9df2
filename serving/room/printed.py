"""The findings of a study on paper: a PDF of what its page shows."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    Flowable,
    Image,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from imaging.errors import InputError, NotFound
from serving.assessments import AssessmentRecord
from serving.room import show
from serving.room.fonts import PLAIN, marked
from serving.room.language import Words, number
from serving.room.pictures import SIZES, Pictures, Wish
from serving.room.prior import Change
from serving.room.study import FindingCard, StudyPage
from serving.settings import WETREAD_VERSION

_GREY, _RULE = HexColor("#555555"), HexColor("#bbbbbb")
_TEXT = ParagraphStyle("text", fontName=PLAIN, fontSize=9, leading=12.5, wordWrap="CJK")
_SMALL = ParagraphStyle("small", parent=_TEXT, fontSize=7.5, leading=10, textColor=_GREY)
_HEAD = ParagraphStyle("head", parent=_TEXT, fontSize=11, leading=15, spaceBefore=8)
_TITLE = ParagraphStyle("title", parent=_TEXT, fontSize=15, leading=20)
_MARGIN, _PICTURE = 16 * mm, 52 * mm
_WIDTH = A4[0] - 2 * _MARGIN - 12  # a frame is padded by 6 points on each side
_BARE = TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0)])
_GRID = TableStyle(
    [
        ("LINEBELOW", (0, 0), (-1, -1), 0.25, _RULE),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
    ],
    parent=_BARE,
)
WARNING = "Research use only. Findings are unverified until a reader accepts them."


@dataclass(frozen=True, slots=True, kw_only=True)
class Printer:
    """Prints pages of studies in one language; `now` is Unix seconds."""

    words: Words
    pictures: Pictures
    now: float

    def pdf(self, page: StudyPage) -> bytes:
        """Return the report of a study as PDF, A4."""
        t, study = self.words, page.line.study
        out = BytesIO()
        document = SimpleDocTemplate(
            out,
            pagesize=A4,
            leftMargin=_MARGIN,
            rightMargin=_MARGIN,
            topMargin=_MARGIN,
            bottomMargin=_MARGIN,
            title=f"{t('AI findings')} {study.study_uid}",
            creator=f"Wetread {WETREAD_VERSION}",
            lang="zh-CN" if t.language == "zh" else "en",
        )
        flow = [*self._top(page), *self._findings(page), *self._series(page), *self._end()]
        foot = partial(self._foot, study.study_uid)
        document.build(flow, onFirstPage=foot, onLaterPages=foot)
        return out.getvalue()

    def _top(self, page: StudyPage) -> Iterator[Flowable]:
        t, s = self.words, page.line.study
        yield _line(t("AI findings"), _TITLE, bold=True)
        yield _line(t(WARNING), _TEXT, bold=True)
        yield Spacer(0, 6)
        age = show.age(s.birth_date, s.study_date, t)
        rows = [
            (t("Patient"), show.person(s.patient_name) or t("(no name)")),
            (t("Patient ID"), s.patient_id or t("(no ID)")),
            (t("Born"), " · ".join(filter(None, [show.date(s.birth_date), t.term(s.sex), age]))),
            (t("Study"), " · ".join(filter(None, [" ".join(page.line.modalities), s.description]))),
            (t("Study date"), show.date(s.study_date)),
            (t("Accession number"), s.accession_number),
            (t("AI state"), t(page.line.state)),
        ]
        yield _table([[_line(k, _SMALL), _line(v)] for k, v in rows if v], (36 * mm,))

    def _findings(self, page: StudyPage) -> Iterator[Flowable]:
        t = self.words
        yield _line(t("Findings"), _HEAD, bold=True)
        for card in page.cards:
            told = list(self._told(card))
            picture = self._picture(page, card)
            if picture is not None:
                row = [[told, picture]]
                told = [Table(row, (_WIDTH - _PICTURE - 4 * mm, _PICTURE + 4 * mm), style=_BARE)]
            yield KeepTogether([*told, Spacer(0, 6)])
        if not page.cards:
            item = page.line.workitem
            why = t.either(item.reason_text, item.reason_text_zh) if item else ""
            yield _line(f"{t('No findings.')} {why}")

    def _told(self, card: FindingCard) -> Iterator[Flowable]:
        t, finding = self.words, card.finding
        urgency = "" if finding.abstained else t(finding.urgency.value)
        yield _line(" · ".join(filter(None, [t.term(finding.concept), urgency])), bold=True)
        if finding.abstained:
            yield _line(f"{t('Not assessed')}: {t.reason(finding.abstained)}")
        if finding.probability is not None:
            calibrated = card.calibration or t("not calibrated")
            yield _line(f"{finding.probability:.2f} {t('probability')} ({calibrated})")
        for measured in finding.measurements:
            same = (c for c in card.changes if (c.name, c.unit) == (measured.name, measured.unit))
            value = f"{t.term(measured.name)}: {number(measured.value)} {measured.unit}"
            yield _line(value + "".join(map(self._change, same)))
        yield _line(self._judged(card.assessment))
        title = card.model.title if card.model else finding.model
        made = f"{title} {finding.model_version} · SHA-256 {finding.model_digest}"
        yield _line(made, _SMALL)

    def _change(self, change: Change) -> str:
        t = self.words
        percent = "" if change.percent is None else f", {change.percent:+.1f} %"
        other = "" if change.same_version else f", {t('other model version')}"
        before = f"{t('Before')} {number(change.then)} {change.unit}, {show.date(change.date)}"
        return f" ({before}{percent}{other})"

    def _judged(self, said: AssessmentRecord | None) -> str:
        t = self.words
        if said is None:
            return t("Not assessed by a reader.")
        measured = [f"{t.term(m.name)} → {number(m.value)} {m.unit}" for m in said.measured]
        instead = [f"→ {t.term(said.instead.meaning)}"] if said.instead else []
        words = [t(said.verdict.value), t.reject(said.reason), *instead, *measured, said.comment]
        return f"{' '.join(filter(None, words))} ({said.reader}, {show.clock(said.at)})"

    def _picture(self, page: StudyPage, card: FindingCard) -> Flowable | None:
        """Return the key slice with its outlines, ``None`` where it cannot be shown."""
        if card.place is None or card.finding.abstained:
            return None
        wish = Wish(
            study_uid=page.line.study.study_uid,
            series_uid=card.finding.series_uid,
            place=card.place,
            window="auto",
            size=SIZES[-1],
            overlay=page.overlays,
        )
        try:
            jpeg = self.pictures.jpeg(wish)
        except (NotFound, InputError):
            return None
        return Image(BytesIO(jpeg), _PICTURE, _PICTURE, kind="proportional")

    def _series(self, page: StudyPage) -> Iterator[Flowable]:
        t = self.words
        rows = []
        for row in page.series:
            name = f"{row.series.modality} {row.series.description}".strip()
            for decision in row.decisions:
                read = t("read") if decision.chosen else t("not read")
                why = "; ".join(map(t.reason, decision.reasons))
                rows.append(
                    [_line(name, _SMALL), _line(f"{decision.model}: {read}: {why}", _SMALL)]
                )
        if rows:
            yield _line(t("Series, and why each was read or not"), _HEAD, bold=True)
            yield _table(rows, (56 * mm,))

    def _end(self) -> Iterator[Flowable]:
        t = self.words
        yield Spacer(0, 6)
        yield _line(t("Printed {when}", when=show.clock(self.now)), _SMALL)

    def _foot(self, study_uid: str, canvas: Canvas, document: SimpleDocTemplate) -> None:
        foot = _line(f"Wetread {WETREAD_VERSION} · {study_uid} · {document.page}", _SMALL)
        foot.wrapOn(canvas, _WIDTH, _MARGIN)
        foot.drawOn(canvas, _MARGIN, _MARGIN / 2)


def _line(text: str, style: ParagraphStyle = _TEXT, *, bold: bool = False) -> Paragraph:
    return Paragraph(marked(text, bold=bold), style)


def _table(rows: list[list[Paragraph]], first: tuple[float]) -> Table:
    return Table(rows, (*first, _WIDTH - first[0]), style=_GRID)
