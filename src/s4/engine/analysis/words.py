"""Words, identifiers, and the pieces of scripts that set no spaces between words.

- A word is a run of letters and digits with the marks that hang on them. It is folded: lower case, no accents.
- Words that single signs join are an identifier (`ERR-4711`, `ab_cd-99/x`, `v1.2.3`, `jo@example.com`) if a digit, an
  underscore or an `@` is in it, or a dot joins letters (but `e.g`). It counts as a whole beside its words.
- Chinese, Japanese, Korean, Thai, Lao, Khmer and Burmese are cut into single characters and pairs of neighbours, so
  that any part of a run can be found without a dictionary.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff"  # Thai, Lao, Burmese, Hangul letters, Khmer
    "\u3005\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"  # kana, ideographs
    "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff"  # Hangul, ideographs, half width
)
_MARKS = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff\u0e00-\u0eff"
    "\u1000-\u109f\u1780-\u17ff\u3099\u309a"
)
"""Combining marks of the scripts that need them to spell, some as whole blocks: to `\\w` they are no letters."""

WORD = re.compile(rf"[^\W_](?:[^\W_]|[{_MARKS}])*+")
UNSPACED = re.compile(f"[{_UNSPACED}]+")
JOINERS = "-./:@#+&"
_JOINED = re.compile(rf"(?<![^\W_]){WORD.pattern}(?:(?:[{JOINERS}]|_++){WORD.pattern})++")
_IDENTIFIER = re.compile(r"[\d_@]|[^\W\d_]{2}\.[^\W\d_]{2}")
IDENTIFIER_CHARS_MAX = 128
"""Longer ones, such as addresses of pages, are found by their words."""

# Letters with a stroke or grown together, which Unicode does not take apart.
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "ħ": "h", "ı": "i"})


def fold(text: str) -> str:
    """Lower case without accents: `Café` is `cafe`, `Straße` is `strasse`. Kana and Hangul keep their marks, which are
    letters there. May be longer or shorter than `text`."""
    if text.isascii():
        return text.lower()
    if UNSPACED.search(text):
        parts = re.split(f"([{_UNSPACED}]+)", text)
        return "".join(
            unicodedata.normalize("NFKC", part) if odd % 2 else _without_accents(part) for odd, part in enumerate(parts)
        )
    return _without_accents(text)


@lru_cache(maxsize=65_536)  # the vocabulary of many passages; highlighting asks for every word
def normalise(word: str) -> str:
    """`fold`, remembered: of one word."""
    return fold(word)


def identifiers(text: str) -> Iterator[re.Match[str]]:
    """Where words stand that signs join into one name."""
    for match in _JOINED.finditer(text):
        if len(match[0]) <= IDENTIFIER_CHARS_MAX and _IDENTIFIER.search(match[0]):
            yield match


def pieces(word: str) -> Iterator[tuple[str, bool]]:
    """A folded word, or where it has a script without spaces, its runs, each with whether it is one of those."""
    if word.isascii() or not UNSPACED.search(word):
        yield word, False
        return
    for number, run in enumerate(re.split(f"([{_UNSPACED}]+)", word)):
        if run:
            yield run, number % 2 == 1


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    return plain.translate(_LETTERS)
