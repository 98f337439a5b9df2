"""Person names as they are matched (PS3.4 C.2.2.2.1, PS3.5 6.2.1).

>>> name_key("Wáng^XiǎoDōng^^^=王^小东")
'wáng^xiǎodōng=王^小东'
>>> name_words("Wáng^XiǎoDōng=王^小东")
' wang xiaodong wangxiaodong 王 小东 王小东'
"""

import re
import unicodedata

_SEPARATORS = re.compile(r"[\^=,\s]+")


def name_key(text: str) -> str:
    """Return a name without regard to case and to components that are empty at the end."""
    groups = (group.strip().rstrip("^ ") for group in text.split("="))
    return unicodedata.normalize("NFC", "=".join(groups).rstrip("=").casefold())


def name_words(text: str) -> str:
    """Return the words of a name, each after a space, without case and accents, for fuzzy matching.

    Each group also stands as one word, because Chinese names are asked for without a separator.
    """
    found: list[str] = []
    for group in text.split("="):
        words = words_of(group)
        found += words
        if len(words) > 1:
            found.append("".join(words))
    return "".join(f" {word}" for word in found)


def words_of(text: str) -> list[str]:
    """Return the words of a name or of a query, without case and accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return [word for word in _SEPARATORS.split(unicodedata.normalize("NFC", plain)) if word]
