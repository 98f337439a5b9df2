"""Bytes to text in every Specific Character Set (PS3.3 C.12.1.1.2, PS3.5 6.1 and Annexes H to K).

Real declarations are misspelt, missing or wrong. Nothing here raises and nothing is dropped: what
contradicts its declaration is read as what it can be proven to be, else byte by byte as Latin-1.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

ASCII, UTF_8, GB18030, GBK, LATIN_1 = "ISO_IR 6", "ISO_IR 192", "GB18030", "GBK", "ISO_IR 100"

# Whole repertoires, by normalized defined term.
_CODECS = {
    ASCII: "ascii",
    LATIN_1: "latin_1",
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 110": "iso8859_4",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 127": "iso8859_6",
    "ISO_IR 138": "iso8859_8",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 148": "iso8859_9",
    "ISO_IR 166": "tis_620",
    "ISO_IR 203": "iso8859_15",
    "ISO_IR 13": "shift_jis",
    "ISO_IR 58": "gb2312",
    "ISO_IR 87": "iso2022_jp",
    "ISO_IR 149": "euc_kr",
    "ISO_IR 159": "iso2022_jp_1",
    UTF_8: "utf_8_sig",  # a byte order mark says nothing
    GB18030: "gb18030",
    GBK: "gbk",
}
# What the vendors' systems write under the name of a smaller set.
_SUPERSETS = {"ISO_IR 149": "cp949", "ISO_IR 13": "cp932"}
# What people write instead of a defined term.
_SPELLINGS = {
    "": ASCII, "ASCII": ASCII, "USASCII": ASCII, "UTF8": UTF_8, "UNICODE": UTF_8, "GB2312": GBK,
    "CP936": GBK, "LATIN1": LATIN_1, "ISO88591": LATIN_1, "ISOLATIN1": LATIN_1, "SHIFTJIS":
    "ISO_IR 13", "SJIS": "ISO_IR 13", "EUCKR": "ISO_IR 149", "KSC5601": "ISO_IR 149",
    "ISO885915": "ISO_IR 203", "ISO88592": "ISO_IR 101", "ISO88595": "ISO_IR 144",
    "ISO88597": "ISO_IR 126", "ISO88599": "ISO_IR 148", "GB18030": GB18030, "GBK": GBK,
    "ISO2022GBK": GBK, "ISO202258": "ISO_IR 58",
}  # fmt: skip
# Escape sequences (tables C.12-3 and C.12-4): the half of the code table they fill, and the set.
_ESCAPES = {
    b"(B": ("G0", ASCII), b"(J": ("G0", ASCII), b")I": ("G1", "ISO_IR 13"),
    b"-A": ("G1", LATIN_1), b"-B": ("G1", "ISO_IR 101"), b"-C": ("G1", "ISO_IR 109"),
    b"-D": ("G1", "ISO_IR 110"), b"-F": ("G1", "ISO_IR 126"), b"-G": ("G1", "ISO_IR 127"),
    b"-H": ("G1", "ISO_IR 138"), b"-L": ("G1", "ISO_IR 144"), b"-M": ("G1", "ISO_IR 148"),
    b"-T": ("G1", "ISO_IR 166"), b"-b": ("G1", "ISO_IR 203"), b"$B": ("G0", "ISO_IR 87"),
    b"$@": ("G0", "ISO_IR 87"), b"$(D": ("G0", "ISO_IR 159"), b"$)C": ("G1", "ISO_IR 149"),
    b"$)A": ("G1", "ISO_IR 58"),
}  # fmt: skip
_STAND_ALONE = frozenset((UTF_8, GB18030, GBK))
_EAST_ASIAN = frozenset(
    (GB18030, GBK, "ISO_IR 13", "ISO_IR 58", "ISO_IR 87", "ISO_IR 149", "ISO_IR 159")
)
_ALPHABETS = frozenset(_CODECS) - _EAST_ASIAN
_DOUBLE_BYTE_G0 = {"ISO_IR 87": b"\x1b$B", "ISO_IR 159": b"\x1b$(D"}
# Scripts that text is written in; UTF-8 by chance decodes to characters outside of these.
_SCRIPTS = re.compile(
    "[\x00-\x7f\u00a0-\u024f\u0370-\u052f\u0590-\u06ff\u0e00-\u0e7f\u1e00-\u206f\u20a0-\u22ff"
    "\u2460-\u24ff\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]*"
)
_DELIMITERS = re.compile(rb"[\^=\\\r\n\f\t]")
_LAST_ASCII = 0x7F
_ASCII_BYTES = bytes(range(_LAST_ASCII + 1))
_ESC = b"\x1b"
_WIDE = re.compile("[\x00-\x7f\u3000-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]*")
# GB 2312: first bytes of ideographs, and of those in common use (level 1).
_IDEOGRAPH_LEADS, _COMMON_LEADS = re.compile(rb"[\xb0-\xf7]"), re.compile(rb"[\xb0-\xd7]")
_FEWEST = 2
_LATIN_SIGNS = re.compile(rb"[\x80-\xbf\xd7\xf7]")
_LATIN_WORD, _LATIN_CAPITALS = re.compile(rb"[A-Za-z]"), re.compile(rb"[\xc0-\xdf]*")


@dataclass(frozen=True, slots=True)
class Reading:
    """What bytes say, and whether the declared sets are known and the bytes valid in them."""

    text: str
    as_declared: bool


def defined_term(spelling: str) -> str:
    """Return the defined term that is meant, without code extension; "" when it is not known."""
    letters = re.sub(r"[^A-Z0-9]", "", spelling.upper())
    if letters in _SPELLINGS:
        return _SPELLINGS[letters]
    found = re.fullmatch(r"(?:ISO)?(?:2022)?(?:IR)?(\d{1,3})", letters)
    term = f"ISO_IR {found[1]}" if found else ""
    return term if term in _CODECS else ""


def well_declared(spellings: Sequence[str]) -> bool:
    """Whether every value is a defined term of PS3.3, as it is written there."""
    plain = {*_CODECS, ""} - {"ISO_IR 58", "ISO_IR 87", "ISO_IR 149", "ISO_IR 159"}
    extended = {t.replace("ISO_IR", "ISO 2022 IR") for t in _CODECS} - {"ISO 2022 IR 192"}
    if len(spellings) <= 1:
        return all(spelling in plain - {ASCII} | extended for spelling in spellings)
    return all(spelling in (extended | {""}) - _STAND_ALONE for spelling in spellings)


def read(raw: bytes, spellings: Sequence[str]) -> Reading:
    """Return the text of `raw` under the values of Specific Character Set, padding kept."""
    if raw.isascii() and _ESC not in raw:
        return Reading(raw.decode("ascii"), as_declared=True)
    terms = [defined_term(spelling) for spelling in spellings] or [ASCII]
    known = [term for term in terms if term] or [ASCII]
    declared = _declared(raw, known)
    proven = _proven(raw, known, declared)
    text = next((t for t in (proven, declared) if t is not None), None)
    if text is None:
        text = _best_effort(raw, known)
    return Reading(text, as_declared=declared is not None and all(terms))


def _declared(raw: bytes, known: Sequence[str]) -> str | None:
    """Return the text if the bytes are valid in the declared sets."""
    if _ESC not in raw:
        return _plain(raw, known)
    try:
        return "".join(_segments(raw, known, "strict"))
    except UnicodeDecodeError:
        return None


def _plain(raw: bytes, known: Sequence[str]) -> str | None:
    """Read text without escape sequences in the first set that fits: senders forget to escape."""
    for term in known:
        if term in _DOUBLE_BYTE_G0:
            continue  # never without an escape sequence
        try:
            return raw.decode(_CODECS[term])
        except UnicodeDecodeError:
            continue
    return None


def _best_effort(raw: bytes, known: Sequence[str]) -> str:
    if _ESC in raw:
        return "".join(_segments(raw, known, "replace"))
    for codec in filter(None, map(_SUPERSETS.get, known)):
        with suppress(UnicodeDecodeError):
            return raw.decode(codec)
    if known[0] in _STAND_ALONE:
        text = raw.decode(_CODECS[known[0]], "replace")
        if text.count("\ufffd") == 1:
            return text  # cut in the middle of a character
    return raw.decode("latin_1")


# Proof against the declaration


def _proven(raw: bytes, known: Sequence[str], declared: str | None) -> str | None:
    """Return the text when the bytes themselves show that they are UTF-8 or Chinese.

    Any bytes are valid in a set of one byte a character, so being valid proves nothing there. In
    the double-byte sets of East Asia only ideographs in UTF-8 are proof: two bytes that are one
    katakana each are one Arabic letter in UTF-8.
    """
    if raw.isascii() or (declared is not None and (known[0] == UTF_8 or _ESC in raw)):
        return None
    utf_8 = _in_utf_8(raw)
    if utf_8 is not None and (known[0] in _ALPHABETS or _WIDE.fullmatch(utf_8)):
        return utf_8
    return _chinese(raw) if set(known) <= {ASCII, LATIN_1, UTF_8} else None


def _in_utf_8(raw: bytes) -> str | None:
    try:
        text = raw.decode("utf_8")
    except UnicodeDecodeError:
        return None
    return text if _SCRIPTS.fullmatch(text) else None


def _chinese(raw: bytes) -> str | None:
    """Return GB 2312 text that cannot be meant as Latin-1.

    Two ideographs at least, mostly of the common level, and either signs between the letters, as
    in "Íõ^Ð¡¶«", or nothing but accented letters. Capitals alone may be Cyrillic.
    """
    try:
        text = raw.decode("gb2312")
    except UnicodeDecodeError:
        return None
    high = raw.translate(None, _ASCII_BYTES)
    leads = _IDEOGRAPH_LEADS.findall(high[::2])
    if len(leads) < _FEWEST or 3 * len(_COMMON_LEADS.findall(high[::2])) < 2 * len(leads):
        return None
    plausible = _LATIN_WORD.search(raw) or _LATIN_CAPITALS.fullmatch(high)
    return text if _LATIN_SIGNS.search(high) or not plausible else None


# Code extensions


def _segments(raw: bytes, known: Sequence[str], errors: str) -> Iterator[str]:
    """Read text with ISO 2022 escape sequences (PS3.5 6.1.2.5).

    Delimiters bring back the first set of the upper half (6.1.2.5.3); where the first value names
    none, the first value that does is taken, because senders forget to escape again.
    """
    first_g1 = next((t for t in known if t not in {ASCII, *_DOUBLE_BYTE_G0}), LATIN_1)
    g0, g1, at = ASCII, first_g1, 0
    while at < len(raw):
        if escape := _escape_at(raw, at):
            half, term = _ESCAPES[escape]
            g0, g1 = (term, g1) if half == "G0" else (g0, term)
            at += 1 + len(escape)
            continue
        end = raw.find(_ESC, at + 1)
        run = raw[at : end if end >= 0 else len(raw)]
        at += len(run)
        if g0 in _DOUBLE_BYTE_G0:
            yield _double_bytes(run, g0, errors)
            continue
        for part in re.findall(rb"[\x00-\x7f]+|[\x80-\xff]+", run):
            yield part.decode(_CODECS[g1] if part[0] > _LAST_ASCII else "ascii", errors)
            if _DELIMITERS.search(part):
                g1 = first_g1


def _double_bytes(run: bytes, term: str, errors: str) -> str:
    """Read characters of two bytes; some senders do not leave the set before a delimiter."""
    escape, codec = _DOUBLE_BYTE_G0[term], _CODECS[term]
    try:
        return (escape + run).decode(codec)
    except UnicodeDecodeError:
        if errors == "strict":
            raise
    parts = re.split(rb"([\^=\\])", run)
    if all(len(part) % 2 == 0 for part in parts[::2]):
        with suppress(UnicodeDecodeError):
            words = [(escape + part).decode(codec) for part in parts[::2]]
            marks = [*(mark.decode("ascii") for mark in parts[1::2]), ""]
            return "".join(word + mark for word, mark in zip(words, marks, strict=True))
    pairs = (run[at : at + 2] for at in range(0, len(run), 2))
    return "".join(_pair(escape + pair, codec) for pair in pairs)


def _pair(escaped: bytes, codec: str) -> str:
    try:
        return escaped.decode(codec)
    except UnicodeDecodeError:
        return "\ufffd"


def _escape_at(raw: bytes, at: int) -> bytes:
    """Return the escape sequence at a place, without ESC; none where there is no known one."""
    if raw[at : at + 1] != _ESC:
        return b""
    return next((e for n in (3, 2) if (e := raw[at + 1 : at + 1 + n]) in _ESCAPES), b"")
