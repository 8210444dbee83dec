"""The handbook's blocks of code, by the guide's names."""

import re

from tests.factories.pages import page

_SECTION = re.compile(r"^#{2,3} ([^\n]+)\n(.*?)(?=^#{2,3} |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections() -> dict[str, str]:
    """What stands under each heading. A block of code has no line that looks like one."""
    return dict(_SECTION.findall(page("docs/guide/handbook.md")))


def blocks() -> dict[str, tuple[str, str]]:
    """Language and text of the block under each heading that has one."""
    found = {name: _BLOCK.findall(text) for name, text in sections().items()}
    assert all(len(each) <= 1 for each in found.values()), "one block under each name"
    return {name: each[0] for name, each in found.items() if each}
