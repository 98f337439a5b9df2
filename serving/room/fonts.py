"""Fonts of printed reports: which character is set in which, so that names in any script come out.

Latin, Greek and Cyrillic are embedded (Noto Sans). Chinese, Japanese and Korean are set in the
standard fonts of PDF readers (Adobe's CID fonts), which are not.
"""

import unicodedata
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from itertools import groupby
from xml.sax.saxutils import escape

import pymupdf_fonts
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

PLAIN, BOLD = "NotoSans", "NotoSans-Bold"
_EMBEDDED = {PLAIN: "notos", BOLD: "notosbo"}
HAN, KANA, HANGUL = "STSong-Light", "HeiseiMin-W3", "HYSMyeongJo-Medium"
_MISSING, _SHOWN = "", "?"
_BY_NAME = {
    "CJK": HAN,
    "IDEOGRAPHIC": HAN,
    "FULLWIDTH": HAN,
    "HIRAGANA": KANA,
    "KATAKANA": KANA,
    "HANGUL": HANGUL,
}


def marked(text: str, *, bold: bool = False) -> str:
    """Return text as reportlab's mark-up, each run in a font that has its characters."""
    plain = BOLD if bold else PLAIN
    runs = groupby(unicodedata.normalize("NFC", text), lambda char: _font_of(char, plain))
    return "".join(_run(font, "".join(chars), plain) for font, chars in runs)


def _run(font: str, text: str, plain: str) -> str:
    if font == _MISSING:
        font, text = plain, _SHOWN * len(text)
    return f'<font name="{font}">{escape(text)}</font>'


def _font_of(char: str, plain: str) -> str:
    if ord(char) in _covered()[plain]:
        return plain
    kind = unicodedata.name(char, "").partition(" ")[0]
    return _BY_NAME.get(kind, _MISSING)


@cache
def _covered() -> Mapping[str, frozenset[int]]:
    """Return the characters of the embedded fonts; from then on all fonts are known."""
    fonts = [TTFont(name, BytesIO(pymupdf_fonts.myfont(key))) for name, key in _EMBEDDED.items()]
    for font in (*fonts, *map(UnicodeCIDFont, (HAN, KANA, HANGUL))):
        pdfmetrics.registerFont(font)
    return {font.fontName: frozenset(font.face.charToGlyph) for font in fonts}
