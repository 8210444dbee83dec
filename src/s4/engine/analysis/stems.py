"""Stop words and endings, by language.

The stems are light ones, after those of Snowball and of Savoy ("Light Stemming Approaches for the French, Portuguese,
German and Hungarian Languages", SAC 2006): nothing but endings go, so a stem is always the beginning of its word. A
pair of words that they join wrongly finds a passage too many, which the ranking puts behind better ones.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

# The ones of Snowball's list, which the index of earlier releases drops too.
_ENGLISH = """
a about after again against ain all am an and are aren as at be been being below between both but by can
couldn d did didn do doesn doing don down each few for from further had hadn has hasn have haven having he
her here hers herself him himself his how i if in into is isn it its itself just ll m ma me mightn more most
mustn my myself needn no nor not now o of off on or other our ours out over own re s same shan she should
shouldn so some such t than that the their theirs them then there these they this those through to too under
until up ve was wasn we were weren what when where which while who whom will with won wouldn y you your yours
yourself
"""
_WORDS = {
    "en": _ENGLISH,
    "de": (
        "aber als am an auch auf aus bei bin bis das dass dem den der des die dies diese dieser durch ein eine einem "
        "einen einer eines er es fur hat haben ich ihr im in ist kann mit nach nicht noch nur ob oder sein sich sie "
        "sind so uber um und uns unter vom von vor war was wer wenn werden wie wir wird wo zu zum zur"
    ),
    "fr": (
        "a au aux avec ce ces cette comme comment d dans de des du elle en est et eux il ils je l la le les leur "
        "lui mais me meme n ne nous on ont ou par pas plus pour qu que quel quelle qui quoi s sa se ses son sont "
        "sur un une vous"
    ),
    "es": (
        "a al ante como con cual cuando de del desde donde el ella en entre era es esta este esto ha hasta hay la "
        "las le les lo los mas me mi muy no nos o para pero por que quien se ser si sin sobre son su sus tiene un "
        "una y ya"
    ),
    "it": (
        "a ad ai al alla alle anche che chi ci come con da dal dalla degli dei del della delle di e ed gli ha i il "
        "in io la le lo ma mi nel nella non o per piu quale quando questa questo se si sono su sul sulla tra un una "
        "uno"
    ),
    "pt": (
        "a ao aos as ate com como da das de do dos e ela ele em entre era esta este eu foi ha isso ja mais mas mesmo "
        "na nao nas no nos o os ou para pela pelo por quais quando que quem se sem ser seu sua sao tem um uma"
    ),
    "nl": (
        "aan als bij dat de der deze die dit door een en er geen had heb heeft het hij hoe ik in is je kan maar met "
        "mijn naar niet nog of om onder ook op over te tot uit van veel voor waar wat we werd wie wij worden wordt "
        "zich zij zijn zo"
    ),
}
STOP_WORDS = {language: frozenset(words.split()) for language, words in _WORDS.items()}
LANGUAGES = tuple(STOP_WORDS)
ENGLISH = "en"
_EVIDENCE_MIN = 2
"""Stop words that a text must have of its language."""

# One suffix goes per step, the first that fits (so longer ones stand first), and only where the stem keeps a
# vowel and enough letters: `bring` is not `br`, `used` is `us` like `use`, but `station` must not become
# `st`.
_STEPS = {
    "en": (
        (2, ("ies", "ied", "es", "s")),
        (2, ("ing", "ed")),
        (2, ("e", "i", "y")),
        (4, ("ally", "al", "l", "ness", "ment", "abilit", "ibilit", "abl", "ibl")),
        (3, ("ization", "ation", "ator", "izat", "ion", "at", "iz", "iv", "al", "ful", "ous")),
    ),
    "de": ((3, ("ern", "em", "en", "er", "es", "e")), (4, ("n", "s"))),
    "fr": (
        (3, ("s", "x")),
        (4, ("issement", "ement", "ation", "ateur", "atrice", "euse", "eur")),
        (3, ("ee", "er", "ez", "e")),
    ),
    "es": (
        (3, ("amientos", "amiento", "aciones", "acion", "mente")),
        (3, ("es", "os", "as", "s")),
        (3, ("ar", "er", "ir", "o", "a", "e")),
    ),
    "it": ((3, ("azioni", "azione", "amenti", "amento", "mente")), (3, ("are", "ere", "ire", "i", "e", "a", "o"))),
    "pt": (
        (3, ("amentos", "amento", "mente", "oes", "ao")),
        (3, ("es", "os", "as", "s")),
        (3, ("ar", "er", "ir", "o", "a", "e")),
    ),
    "nl": ((3, ("en", "e")), (4, ("s",))),
}
_VOWEL = re.compile(r"[aeiouy]")
_DOUBLED = re.compile(r"([bdfgmnprt])\1$")


def language_of(words: Iterable[str]) -> str | None:
    """The language whose stop words stand in the text most often, of another than English twice as often as English
    ones; None when in doubt. `words` are folded."""
    counts = dict.fromkeys(LANGUAGES, 0)
    for word in words:
        for language in _SPOKEN_IN.get(word, ()):
            counts[language] += 1
    best = max(LANGUAGES, key=lambda language: counts[language])
    is_sure = counts[best] >= _EVIDENCE_MIN and (best == ENGLISH or counts[best] >= 2 * counts[ENGLISH])
    return best if is_sure else None


@lru_cache(maxsize=65_536)
def stem(word: str, language: str) -> str:
    """The common part of a folded word's forms: `run` for `running`, `runs` and `run`."""
    if not word.isascii() or not word.isalpha():
        return word
    for stem_chars_min, suffixes in _STEPS[language]:
        word = _without_suffix(word, suffixes, stem_chars_min)
    return _DOUBLED.sub(r"\1", word)


def _without_suffix(word: str, suffixes: tuple[str, ...], stem_chars_min: int) -> str:
    for suffix in suffixes:
        rest = word.removesuffix(suffix)
        if rest == word:
            continue
        if len(rest) < stem_chars_min or not _VOWEL.search(rest) or (suffix == "s" and rest[-1] in "su"):
            return word
        return rest
    return word


_SPOKEN_IN = {
    word: tuple(language for language in LANGUAGES if word in STOP_WORDS[language])
    for word in frozenset().union(*STOP_WORDS.values())
}
