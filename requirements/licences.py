"""The licence gate: `make licences`. What a lock file installs must be under a permissive or weak-copyleft licence.

Reads what the installed distributions say of themselves: the SPDX expression, or, of older ones, the licence's name and
the classifiers, which must then all be allowed. What says nothing, or something that is not in the tables below, fails
by its name until a person has looked and written an exception with its reason. What a wheel has compiled in is beyond
this gate; NOTICE names what S4 itself carries.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import NamedTuple

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PERMISSIVE = frozenset(
    [
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "PostgreSQL",
        "PSF-2.0",
        "Python-2.0",
        "Unlicense",
        "Zlib",
    ]
)
# Their sources are to be offered when S4 is handed on together with them; S4's own code stays under its own licence.
WEAK_COPYLEFT = frozenset(["LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later", "MPL-2.0"])
ALLOWED = PERMISSIVE | WEAK_COPYLEFT

SPDX_OF = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd": "BSD-3-Clause",  # as below
    "bsd license": "BSD-3-Clause",  # the classifier's name for all of them; each is allowed
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
}
"""Names as older metadata has them, in lower case, beside SPDX's own."""

NAME_CHARS_MAX = 60  # what is longer is the licence's text, not its name


class Exempt(NamedTuple):
    """A licence that a person has looked up, because the metadata does not say it."""

    expression: str
    reason: str


EXCEPTIONS: dict[str, Exempt] = {
    "pypdfium2": Exempt(
        "BSD-3-Clause AND Apache-2.0",
        "the field adds “dependency licenses”; those of PDFium's parts, read in its dist-info (5.15), are permissive",
    ),
}


def main() -> int:
    """Answers with 1 when something may not be installed; arguments are lock files."""
    installed = {canonicalize_name(each.name): each for each in distributions()}
    status = 0
    for path in sys.argv[1:]:
        requirements = locked(Path(path).read_text(encoding="utf-8"))
        found = judge(requirements, installed)
        here = sum(applies(each) for each in requirements)
        print(f"{path}: {here} distributions looked at, {len(requirements) - here} not for this machine")
        for problem in found:
            print(f"  {problem}", file=sys.stderr)
        status |= bool(found)
    return status


def locked(text: str) -> list[Requirement]:
    """The pinned distributions of a lock file, hashes left out."""
    lines = re.findall(r"^[A-Za-z0-9].*$", text, re.MULTILINE)
    return [Requirement(line.removesuffix("\\").strip()) for line in lines]


def judge(
    requirements: Iterable[Requirement],
    installed: Mapping[str, Distribution],
    exceptions: Mapping[str, Exempt] = EXCEPTIONS,
) -> list[str]:
    """A sentence for each distribution that must not be there."""
    problems = []
    for requirement in filter(applies, requirements):
        name = canonicalize_name(requirement.name)
        distribution = installed.get(name)
        if distribution is None or not requirement.specifier.contains(distribution.version, prereleases=True):
            problems.append(f"{requirement} is not installed as the lock says: run `make setup`.")
        elif name in exceptions:
            if statements(distribution) and all(map(is_allowed, statements(distribution))):
                problems.append(f"{name} needs no exception any more: its metadata says what it is.")
            elif not is_allowed(exceptions[name].expression):
                problems.append(f"{name} is excepted as {exceptions[name].expression}, which is not allowed.")
        elif not (said := statements(distribution)):
            problems.append(f"{name} does not say its licence: look it up and write an exception with its reason.")
        else:
            problems += [f"{name} is under {each}, which is not allowed." for each in said if not is_allowed(each)]
    return problems


def applies(requirement: Requirement) -> bool:
    """Whether the lock wants it on this machine."""
    return requirement.marker is None or requirement.marker.evaluate()


def statements(distribution: Distribution) -> list[str]:
    """What the metadata says: the expression, or all that it says in the older fields."""
    metadata = distribution.metadata
    if expression := metadata.get("License-Expression"):
        return [expression]
    named = (metadata.get("License") or "").strip()
    said = [named] if named and len(named) <= NAME_CHARS_MAX and named.upper() != "UNKNOWN" else []
    for classifier in metadata.get_all("Classifier") or []:
        kind, *_, last = classifier.split(" :: ")
        if kind == "License" and last not in ("OSI Approved", "DFSG approved"):
            said.append(last)
    return said


def is_allowed(said: str) -> bool:
    """An alternative is enough of `OR`; `AND` needs both sides."""
    try:
        expression = canonicalize_license_expression(SPDX_OF.get(said.lower(), said))
    except InvalidLicenseExpression:
        return False
    return _holds(re.findall(r"\(|\)|[^\s()]+", expression))


def _holds(tokens: list[str]) -> bool:
    """By recursive descent; consumes `tokens`. AND binds closer than OR."""
    alternatives = [_both(tokens)]
    while tokens and tokens[0] == "OR":
        tokens.pop(0)
        alternatives.append(_both(tokens))
    return any(alternatives)


def _both(tokens: list[str]) -> bool:
    parts = [_one(tokens)]
    while tokens and tokens[0] == "AND":
        tokens.pop(0)
        parts.append(_one(tokens))
    return all(parts)


def _one(tokens: list[str]) -> bool:
    name = tokens.pop(0)
    if name == "(":
        inner = _holds(tokens)
        tokens.pop(0)  # the parenthesis that closes it
        return inner
    if tokens and tokens[0] == "WITH":
        del tokens[:2]  # an exception only ever permits more
    return name in ALLOWED


if __name__ == "__main__":
    sys.exit(main())
