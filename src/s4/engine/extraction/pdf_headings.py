"""Which lines of a PDF are headings. A wrong one is worse than none: it would label every passage after it.

Two witnesses. Numbered lines that continue each other (1, 1.1, 1.2, 2 …) with prose below them are trusted: a
run of three or more. Kreuzberg's guess from type sizes misses some and takes running heads and emphasised
sentences for headings, so beside a run it only adds short lines, and it stands alone where no run is.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median_low
from typing import Any

_NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,2}){0,4})\.?\s+(\S.*)")
_LEADERS = re.compile(r"(?:\.\s?){4,}|…{2,}")  # the dots of a table of contents
_SENTENCE_INSIDE = re.compile(r"[^\W\d]{3,}[.!?] [^\W\d_a-z]")
_TITLE_CHARS_MAX = 90  # about one line; longer ones are sentences
_RUN_MIN = 3
_NO_TITLE_ENDS = (".", ",", ";", ":")


@dataclass(frozen=True, slots=True)
class _Numbered:
    page: int
    line: str
    number: tuple[int, ...]


def find_headings(
    pages: list[list[str]], nodes: list[Any], *, is_running: Callable[[str], bool]
) -> list[dict[str, int]]:
    """For each page, the level of each line that is a heading."""
    levels = _guessed(pages, nodes, is_running)
    run = _longest_run(_candidates(pages))
    if len(run) < _RUN_MIN:
        return levels
    shifts = [levels[one.page][one.line] - len(one.number) for one in run if one.line in levels[one.page]]
    shift = median_low(shifts) if shifts else 0
    levels = [{line: max(level - shift, 1) for line, level in page.items()} for page in levels]
    for one in run:
        levels[one.page][one.line] = len(one.number)
    return levels


def _guessed(pages: list[list[str]], nodes: list[Any], is_running: Callable[[str], bool]) -> list[dict[str, int]]:
    lines = [set(page) for page in pages]
    found: list[dict[str, int]] = [{} for _ in pages]
    for node in nodes:
        content, page = node["content"], (node.get("page") or 0) - 1
        if content["node_type"] not in ("heading", "title") or not 0 <= page < len(pages):
            continue
        title = (content.get("text") or "").strip()
        if title in lines[page] and _can_be_title(title) and not is_running(title):
            found[page][title] = min(max(int(content.get("level") or 1), 1), 6)
    return found


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
