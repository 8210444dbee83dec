"""Which lines of a PDF are headings. A wrong one is worse than none: it would label every passage after it.

Two witnesses. Numbered lines that continue each other (1, 1.1, 1.2, 2 …) with prose below them are trusted: a
run of three or more, which also says how deep a size of type stands. Lines set larger than most of the text are
the other: short ones, no sentences, in a size that is rare.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median_low

_NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,2}){0,4})\.?\s+(\S.*)")
_LEADERS = re.compile(r"(?:\.\s?){4,}|…{2,}")  # the dots of a table of contents
_SENTENCE_INSIDE = re.compile(r"[^\W\d]{3,}[.!?] [^\W\d_a-z]")
_TITLE_CHARS_MAX = 90  # about one line; longer ones are sentences
_RUN_MIN = 3
_LARGER = 1.15  # times the size that most of the text has; emphasis within text is set in its size
_RARE_SHARE = 0.15  # of the text's letters; a larger share is text set large, as on slides
_FULL_LINE = 0.8  # of the longest line, as letters times size
_NO_TITLE_ENDS = (".", ",", ";", ":")


@dataclass(frozen=True, slots=True)
class _Numbered:
    page: int
    line: str
    number: tuple[int, ...]


def find_headings(
    pages: list[list[str]], sizes: list[dict[str, float]], *, is_running: Callable[[str], bool]
) -> list[dict[str, int]]:
    """For each page, the level of each line that is a heading. Joins headings that break over two lines in `pages`."""
    levels = _set_larger(pages, sizes, is_running)
    run = _longest_run(_candidates(pages))
    if len(run) < _RUN_MIN:
        return levels
    shifts = [levels[one.page][one.line] - len(one.number) for one in run if one.line in levels[one.page]]
    shift = median_low(shifts) if shifts else 0
    levels = [{line: max(level - shift, 1) for line, level in page.items()} for page in levels]
    for one in run:
        levels[one.page][one.line] = len(one.number)
    return levels


def _set_larger(
    pages: list[list[str]], sizes: list[dict[str, float]], is_running: Callable[[str], bool]
) -> list[dict[str, int]]:
    chars: Counter[float] = Counter()
    for lines, known in zip(pages, sizes, strict=True):
        for line in lines:
            chars[known.get(line, 0.0)] += len(line)
    most = chars.most_common(1)[0][0] if chars else 0.0
    rare = {size for size, count in chars.items() if count <= _RARE_SHARE * chars.total()}
    large = sorted((size for size in rare if most and size >= _LARGER * most), reverse=True)
    found: list[dict[str, float]] = []
    for lines, known in zip(pages, sizes, strict=True):
        _join_broken(lines, known, set(large))
        titles = {line: size for line in lines if (size := known.get(line, 0.0)) in large}
        found.append({line: size for line, size in titles.items() if _can_be_title(line) and not is_running(line)})
    used = sorted({size for titles in found for size in titles.values()}, reverse=True)
    return [{line: min(used.index(size) + 1, 6) for line, size in titles.items()} for titles in found]


def _join_broken(lines: list[str], known: dict[str, float], large: set[float]) -> None:
    """A heading too long for its line goes on, in the same size, with a small letter or after a full line."""
    width = max((len(line) * known.get(line, 0.0) for line in lines), default=0.0)
    index = 0
    while index + 1 < len(lines):
        line, below = lines[index], lines[index + 1]
        size = known.get(line, 0.0)
        if size in large and known.get(below) == size and (below[0].islower() or len(line) * size > _FULL_LINE * width):
            lines[index : index + 2] = [f"{line} {below}"]
            known[lines[index]] = size
        else:
            index += 1


def _can_be_title(text: str) -> bool:
    return (
        len(text) <= _TITLE_CHARS_MAX
        and not text.endswith(_NO_TITLE_ENDS)
        and not _LEADERS.search(text)
        and not _SENTENCE_INSIDE.search(text)
        and sum(map(str.isalpha, text)) >= 3
    )


def _candidates(pages: list[list[str]]) -> list[_Numbered]:
    found = []
    for index, lines in enumerate(pages):
        for line, below in zip(lines, [*lines[1:], ""], strict=False):
            match = _NUMBERED.match(line)
            if match is None or not _can_be_title(line) or match[2][0].islower() or match[2][0].isdigit():
                continue
            number = _number(match[1])
            following = _NUMBERED.match(below)
            if following and _number(following[1]) != (*number, 1):  # a list, or a table of contents
                continue
            if below and not below[0].islower():  # the next line begins something, it does not go on
                found.append(_Numbered(index, line, number))
    return found


def _number(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _longest_run(candidates: list[_Numbered]) -> list[_Numbered]:
    """Of all chains that begin at 1, the longest, the later of equals: the first may be a table of contents."""
    best: list[_Numbered] = []
    run: list[_Numbered] = []
    for one in candidates:
        if one.number == (1,):
            best, run = (run if len(run) >= len(best) else best), [one]
        elif run and _follows(run[-1].number, one.number):
            run.append(one)
    return run if len(run) >= len(best) else best


def _follows(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """1 → 1.1, 1.1 → 1.2, 1.2 → 2; and 2.2 → 2.4, since one of several may have been missed."""
    depth = len(after)
    if after == (*before, 1):
        return True
    if depth > len(before) or after[:-1] != before[: depth - 1]:
        return False
    step = after[-1] - before[depth - 1]
    return step == 1 or (step == 2 and depth == len(before) > 1)
