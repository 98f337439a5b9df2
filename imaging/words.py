"""Whole words in descriptions, in any language: "head" is not in "headache", but "头" is in "头颅".

Scripts with spaces are matched by whole words, where digits, underscores and signs separate words;
Chinese, Japanese and Korean, which have none or glue words together, anywhere.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

# Kana, Chinese characters, and the letters that Korean syllables fall into.
_EAST_ASIAN = re.compile("[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff]")
_LETTER = r"[^\W\d_]"


def says(text: str, phrases: str) -> bool:
    """Whether `text` holds one of `phrases`, which are separated by commas.

    Case and accents make no difference; a phrase that ends with ``*`` matches any ending.
    """
    return _pattern(phrases).search(_folded(text)) is not None


def without(text: str, phrases: str) -> str:
    """Return `text` in lower case without accents, with every one of `phrases` blanked."""
    return _pattern(phrases).sub(" ", _folded(text))


def joined(texts: Iterable[str]) -> str:
    """Return the texts as one in which no phrase crosses from one to the next."""
    return " | ".join(texts)


@cache
def _pattern(phrases: str) -> re.Pattern[str]:
    """Return the longest phrases first, so that blanking takes them whole."""
    each = sorted((p.strip() for p in _folded(phrases).split(",")), key=len, reverse=True)
    return re.compile("|".join(_bounded(phrase) for phrase in each if phrase))


def _folded(text: str) -> str:
    """Return `text` as it compares: wide and narrow forms, accents and case are one."""
    spread = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in spread if not unicodedata.combining(c))


def _bounded(phrase: str) -> str:
    body = r"[\s_.\-]*".join(re.escape(part) for part in phrase.rstrip("*").split())
    if _EAST_ASIAN.search(phrase):
        return body
    end = "" if phrase.endswith("*") else f"(?!{_LETTER})"
    return f"(?<!{_LETTER}){body}{end}"
