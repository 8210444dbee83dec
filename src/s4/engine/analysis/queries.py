"""Reading a query. Any text is one: nothing in it is an operator but quotes, and a quote without its fellow is none."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain, islice

from s4.engine.analysis.indexing import index_form, terms_in
from s4.engine.analysis.stems import ENGLISH, LANGUAGES, STOP_WORDS, language_of, stem
from s4.engine.analysis.words import JOINERS, UNSPACED, WORD, fold, identifiers, normalise, pieces

QUERY_CHARS_MAX = 4096
"""What keyword search reads of a query; the rest is for the vector."""
TERMS_MAX = 64
"""Terms that count, the first ones. Each costs a posting list or a few."""
TIMES_MAX = 4
"""Of one term, however often a query says it."""
EXACT_MAX = 8
"""Phrases and identifiers of a query that passages are held against, phrases first. Each phrase is also a search of the
index, in every language."""
EXACT_SHARE_MAX = 0.5
"""Of a score. What lacks everything that was quoted stays below a half, what has it all is not below."""

_QUOTED = re.compile(r'"([^"]+)"|“([^“”]+)”|„([^„“”]+)[“”]|«([^«»]+)»|»([^«»]+)«|「([^「」]+)」')
_EDGE = rf"[{JOINERS}_]?[^\W_]"


@dataclass(frozen=True, slots=True)
class Term:
    """What counts as one: a word, an identifier, or a pair out of a script without spaces."""

    text: str
    """As it stands in the query."""
    plain: str
    """What the index makes of it in English text."""
    times: int = 1
    """How often the query says it: so much more it counts, as in BM25."""
    foreign: frozenset[str] = frozenset()
    """What it makes of it in other languages: in that of the query, or in all while nobody knows which it is."""


@dataclass(frozen=True)
class ParsedQuery:
    language: str | None
    """None when the query does not tell."""
    terms: tuple[Term, ...]
    """Without stop words, unless there is nothing else."""
    phrases: tuple[str, ...]
    identifiers: tuple[str, ...]
    """Outside of the phrases."""
    words: int
    """Other terms than what belongs to phrases and identifiers."""

    @cached_property
    def phrase_forms(self) -> tuple[str, ...]:
        """Runs of index terms, one of which a passage has that has the phrase."""
        runs = (" ".join(terms_in(phrase, language)) for phrase in self.phrases for language in LANGUAGES)
        return tuple(dict.fromkeys(runs))

    @cached_property
    def exact_share(self) -> float:
        """The part of a score that phrases and identifiers make. Identifiers less, the more else is asked: what is
        named on the way need not be in the answer."""
        if self.phrases:
            return EXACT_SHARE_MAX
        parts = len(self.identifiers)
        return EXACT_SHARE_MAX * (parts / (parts + self.words)) ** 2 if parts else 0.0

    def exact_in(self, text: str) -> float:
        """Which part of the phrases and identifiers the text has as they are, but for case, accents and, in phrases,
        what stands between words. 0..1."""
        if not self._exact:
            return 0.0
        folded = fold(text)
        return sum(each.is_in(folded) for each in self._exact) / len(self._exact)

    def exact_parts_in(self, text: str) -> list[str]:
        """Which they are."""
        folded = fold(text)
        return [each.said for each in self._exact if each.is_in(folded)]

    @cached_property
    def _exact(self) -> list["_Exact"]:
        return list(islice(chain(map(_phrase, self.phrases), map(_identifier, self.identifiers)), EXACT_MAX))


@dataclass(frozen=True, slots=True)
class _Exact:
    """A phrase or an identifier, as it stands in the query."""

    said: str
    words: tuple[str, ...]
    pattern: re.Pattern[str]

    def is_in(self, folded: str) -> bool:
        """Its words are looked for first, which takes a fraction of the time: few passages have them all."""
        return all(word in folded for word in self.words) and self.pattern.search(folded) is not None


@lru_cache(maxsize=256)  # index, ranking and highlights each ask for the query at hand
def parse(text: str) -> ParsedQuery:
    text = text[:QUERY_CHARS_MAX].encode("utf-8", "replace").decode("utf-8")
    quoted = map(_inner, _QUOTED.finditer(text))
    phrases = tuple(dict.fromkeys(phrase for phrase in quoted if WORD.search(fold(phrase))))[:EXACT_MAX]
    rest = _QUOTED.sub(" ", text)
    names = tuple(dict.fromkeys(match[0] for match in identifiers(rest)))
    terms = _terms(text)
    inside = _terms(" ".join((*phrases, *names)))
    words = sum(key not in inside for key in terms)
    return ParsedQuery(_language(text), tuple(terms.values()), phrases, names, words)


def _inner(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None)


def _language(text: str) -> str | None:
    return language_of(normalise(match[0]) for match in WORD.finditer(text))


def _terms(text: str) -> dict[str, Term]:
    words = [match[0] for match in WORD.finditer(text)]
    language = _language(text)
    stop_words = STOP_WORDS[language or ENGLISH]
    foreign = [each for each in LANGUAGES if each != ENGLISH and language in (each, None)]
    found: dict[str, Term] = {}
    for is_stop_word_kept in (False, True):
        for written, piece, is_unspaced in _pieces(words):
            if is_unspaced or is_stop_word_kept or piece not in stop_words:
                forms = frozenset(() if is_unspaced else (index_form(piece, each) for each in foreign))
                key = stem(piece, ENGLISH)
                if key in found:
                    found[key] = replace(found[key], times=min(found[key].times + 1, TIMES_MAX))
                else:
                    found[key] = Term(written, piece, foreign=forms)
            if len(found) == TERMS_MAX:
                return found
        if found:
            break
    for match in identifiers(text):
        if len(found) < TERMS_MAX:
            found.setdefault(normalise(match[0]), Term(match[0], normalise(match[0])))
    return found


def _pieces(words: list[str]) -> Iterator[tuple[str, str, bool]]:
    """Words as they stand, folded, and whether they are pairs of a script without spaces."""
    for word in words:
        for piece, is_unspaced in pieces(normalise(word)):
            if not is_unspaced:
                yield word, piece, False
            elif len(piece) == 1:
                yield piece, piece, True
            else:
                for place in range(len(piece) - 1):
                    pair = piece[place : place + 2]
                    yield pair, pair, True


def _phrase(said: str) -> _Exact:
    """Its words in order, with anything but letters and digits between them."""
    words = tuple(WORD.findall(fold(said)))
    before = "" if UNSPACED.match(words[0]) else r"(?<![^\W_])"
    after = "" if UNSPACED.match(words[-1][-1]) else r"(?![^\W_])"
    return _Exact(said, words, re.compile(before + r"[\W_]+".join(map(re.escape, words)) + after))


def _identifier(said: str) -> _Exact:
    """By itself, not as a part of a longer one."""
    folded = fold(said)
    pattern = rf"(?<![^\W_])(?<![^\W_][{JOINERS}_]){re.escape(folded)}(?!{_EDGE})"
    return _Exact(said, (folded,), re.compile(pattern))
