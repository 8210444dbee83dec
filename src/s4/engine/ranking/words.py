"""Words and their stems, close to what the index makes of English text.

The index cuts at everything that is neither letter nor digit, lower-cases, folds accents, drops stop words
and stems by Snowball's English rules. Highlighting must agree with it only so far that a reader sees why a
chunk was found, so the rules below are a small part of Snowball's. A pair of words that they join wrongly
shows one highlight too many, never a wrong result.
"""

import re
import unicodedata
from functools import lru_cache

# A word, with the combining marks that decomposed text hangs on its letters.
WORD = re.compile(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*")

TERMS_MAX = 64
"""Terms of a query that count: as many words as keyword search looks up."""

# The ones that the index drops, found by asking its tokenizer.
_STOP_WORDS = """
a about after again against ain all am an and are aren as at be been being below between both but by can
couldn d did didn do doesn doing don down each few for from further had hadn has hasn have haven having he
her here hers herself him himself his how i if in into is isn it its itself just ll m ma me mightn more most
mustn my myself needn no nor not now o of off on or other our ours out over own re s same shan she should
shouldn so some such t than that the their theirs them then there these they this those through to too under
until up ve was wasn we were weren what when where which while who whom will with won wouldn y you your yours
yourself
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

# One suffix goes per step, the first that fits (so longer ones stand first), and only where the stem keeps a
# vowel and enough letters: `bring` is not `br`, `used` is `us` like `use`, but `station` must not become
# `st`.
_STEPS = (
    (2, ("ies", "ied", "es", "s")),
    (2, ("ing", "ed")),
    (2, ("e", "i", "y")),
    (4, ("ally", "al", "l", "ness", "ment", "abilit", "ibilit", "abl", "ibl")),
    (3, ("ization", "ation", "ator", "izat", "ion", "at", "iz", "iv", "al", "ful", "ous")),
)
_VOWEL = re.compile(r"[aeiouy]")
_DOUBLED = re.compile(r"([bdfgmnprt])\1$")


@lru_cache(maxsize=65_536)  # the vocabulary of many passages; highlighting asks for every word
def normalise(word: str) -> str:
    """Lower case without accents: `Café` is `cafe`, `Straße` is `strasse`."""
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The common part of a normalised word's English forms: `run` for `running`, `runs` and `run`."""
    if not word.isascii() or not word.isalpha():
        return word
    for stem_chars_min, suffixes in _STEPS:
        word = _without_suffix(word, suffixes, stem_chars_min)
    return _DOUBLED.sub(r"\1", word)


def query_words(text: str) -> dict[str, str]:
    """A query's words without stop words, as they stand there, by their stems, in order; empty for a query of nothing
    else."""
    words: dict[str, str] = {}
    for match in WORD.finditer(text):
        if (word := normalise(match[0])) not in STOP_WORDS:
            words.setdefault(stem(word), match[0])
            if len(words) == TERMS_MAX:
                break
    return words


def query_terms(text: str) -> frozenset[str]:
    """Their stems."""
    return frozenset(query_words(text))


def _without_suffix(word: str, suffixes: tuple[str, ...], stem_chars_min: int) -> str:
    for suffix in suffixes:
        rest = word.removesuffix(suffix)
        if rest == word:
            continue
        if len(rest) < stem_chars_min or not _VOWEL.search(rest) or (suffix == "s" and rest[-1] in "su"):
            return word
        return rest
    return word
