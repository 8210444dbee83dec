"""The order in which a presentation shows its slides.

Kreuzberg hands slides out by the names of their parts, which is the order in which they were made; whoever moved one
would find it cited under a wrong number.
"""

import re
import zipfile
from pathlib import Path, PurePosixPath

_SHOWN = re.compile(rb"<p:sldId\b[^<>]*?\br:id=[\"']([^\"'<>]{1,100})[\"']")
_RELATION = re.compile(rb"<Relationship\b[^<>]*>")
_ID = re.compile(rb"\bId=[\"']([^\"'<>]{1,100})[\"']")
_TARGET = re.compile(rb"\bTarget=[\"']([^\"'<>]{1,300})[\"']")
_NUMBER = re.compile(r"(\d+)\.xml$")


def in_order_shown(path: Path, slides: list[str]) -> list[str]:
    """`slides` come in the order of their parts' numbers. As they are when the file does not say another order."""
    try:
        with zipfile.ZipFile(path) as deck:
            shown = _SHOWN.findall(deck.read("ppt/presentation.xml"))
            relations = _RELATION.findall(deck.read("ppt/_rels/presentation.xml.rels"))
    except KeyError:  # no such part: an old format, or another program's
        return slides
    targets = {
        name[1]: target[1] for each in relations if (name := _ID.search(each)) and (target := _TARGET.search(each))
    }
    numbers = [_number(targets.get(name, b"")) for name in shown]
    if len(numbers) != len(slides) or len(set(numbers)) != len(numbers) or None in numbers:
        return slides
    by_number = dict(zip(sorted(filter(None, numbers)), slides, strict=True))
    return [by_number[number] for number in numbers if number is not None]


def _number(target: bytes) -> int | None:
    match = _NUMBER.search(PurePosixPath(target.decode("utf-8", "replace")).name)
    return int(match[1]) if match else None
