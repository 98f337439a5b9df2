"""English and Chinese on pages: which one, and the words in it."""

from collections.abc import Mapping
from typing import get_args

from imaging.sentences import Language
from imaging.terms_zh import TERMS_ZH
from imaging.verdict import RejectReason
from serving.records import FindingRecord, ReasonRecord
from serving.room.words_zh import WORDS_ZH

COOKIE = "wetread-language"
_KINDS = {
    "SEG": "segmentation (SEG)",
    "SR": "structured report (SR)",
    "PR": "presentation state (PR)",
    "KEY_IMAGE": "key image",
    "NOTICE": "notice: not analysed",
    "ASSESSMENT": "readers' assessment (SR)",
    "TEXT": "report in words (SR)",
    "REJECTION": "rejection note (KO)",
}


def chosen(query: str | None, cookie: str | None, accepted: str | None) -> Language:
    """Return the language of a page: asked for, else chosen before, else the browser's."""
    for wish in (query, cookie):
        if wish in get_args(Language):
            return "zh" if wish == "zh" else "en"
    return "zh" if (accepted or "").lower().startswith("zh") else "en"


class Words:
    """The words of one language; an English text is its own key."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._table: Mapping[str, str] = WORDS_ZH if language == "zh" else {}

    def __call__(self, english: str, **fields: object) -> str:
        """Return a text in this language, its ``{fields}`` filled in."""
        return self._table.get(english, english).format(**fields)

    def term(self, english: str) -> str:
        """Return a term of radiology, or what a model or a sender calls something, as it is."""
        if self.language != "zh":
            return english
        return WORDS_ZH.get(english) or TERMS_ZH.get(english) or english

    def kind(self, kind: str) -> str:
        """Return what an object is called."""
        return self(kind) if self.language == "zh" else _KINDS.get(kind, kind)

    def reject(self, code: str) -> str:
        """Return a reason to reject a finding in words."""
        return self(RejectReason[code].value) if code in RejectReason.__members__ else code

    def reason(self, reason: ReasonRecord) -> str:
        """Return the sentence of a reason."""
        return (self.language == "zh" and reason.text_zh) or reason.text

    def either(self, english: str, chinese: str) -> str:
        """Return whichever of two texts is in this language, English where there is no other."""
        return (self.language == "zh" and chinese) or english

    def statement(self, finding: FindingRecord) -> str:
        """Return what a finding says, in one line without the remark on its use."""
        name = self.term(finding.concept)
        if finding.abstained:
            return self(
                "{name}: not assessed, {why}", name=name, why=self.reason(finding.abstained)
            )
        parts = [
            f"{self.term(m.name).lower()} {number(m.value)} {m.unit}" for m in finding.measurements
        ]
        if finding.probability is not None:
            parts.append(f"{finding.probability:.2f}")
        return " ".join([name, ", ".join(parts)]).strip()


def number(value: float) -> str:
    """Return a measured value with as many digits as mean something to a reader."""
    for least, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= least:
            return f"{value:.{digits}f}"
    return f"{value:.3g}"
