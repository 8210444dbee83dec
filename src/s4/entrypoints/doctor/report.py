"""What an examination finds, for a person and for a program."""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """`WARNING`: S4 works, and somebody should know. `UNKNOWN`: it could not be told."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried. Made by the functions below."""

    name: str
    verdict: Verdict
    message: str
    """What was found: sentences."""
    advice: str | None
    """What to do next. None where there is nothing to do."""
    needed: bool = True
    """Whether S4 depends on it. Of what it does not depend on, `unknown` is no reason to wait."""
    cause: str | None = None
    """The tenant or dependency that it comes from, where one can be named: `tenant ten_…`, `database`."""

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "verdict": self.verdict.value, "needed": self.needed, "cause": self.cause,
            "message": self.message, "advice": self.advice,
        }  # fmt: skip


def ok(name: str, message: str) -> Check:
    return Check(name, Verdict.OK, message, None)


def warning(name: str, message: str, advice: str, *, cause: str | None = None) -> Check:
    return Check(name, Verdict.WARNING, message, advice, cause=cause)


def failed(name: str, message: str, advice: str, *, cause: str | None = None) -> Check:
    return Check(name, Verdict.FAILED, message, advice, cause=cause)


def unknown(name: str, message: str, advice: str, *, needed: bool = True) -> Check:
    return Check(name, Verdict.UNKNOWN, message, advice, needed)


@dataclass(frozen=True, slots=True)
class Sentences:
    """How a report begins that says yes, no, or neither."""

    well: str
    ill: str
    undecided: str


BEFORE = Sentences(
    "Ready: nothing is in S4's way.",
    "NOT READY: S4 would not work, or lose data.",
    "Undecided: nothing wrong was found, but something that S4 needs could not be told.",
)
LIVE = Sentences(
    "Sound: nothing is in S4's way.",
    "NOT SOUND: something does not work, or data is at risk.",
    "Undecided: nothing wrong was found, but something that S4 needs could not be told.",
)


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one examination, in the order in which they were made."""

    subject: str
    """What was examined, in words that find it."""
    checks: tuple[Check, ...]
    left: tuple[str, ...] = ()
    """What the examination wrote and could not remove."""
    sentences: Sentences = BEFORE

    @property
    def exit_code(self) -> int:
        """0: nothing is in S4's way. 1: something is. 2: something that S4 needs could not be told."""
        if any(check.verdict is Verdict.FAILED for check in self.checks):
            return 1
        return 2 if any(check.verdict is Verdict.UNKNOWN and check.needed for check in self.checks) else 0

    @property
    def warnings(self) -> list[Check]:
        return [check for check in self.checks if check.verdict is Verdict.WARNING]

    @property
    def sentence(self) -> str:
        """The whole report in one."""
        count = Counter(check.verdict for check in self.checks)
        said = self.sentences
        beginning = (said.well, said.ill, said.undecided)[self.exit_code]
        counted = [f"{count[verdict]} {verdict.value}" for verdict in Verdict if count[verdict]]
        return f"{beginning} {', '.join(counted)}."

    def as_json(self) -> dict[str, Any]:
        return {
            "subject": self.subject, "exit_code": self.exit_code, "sentence": self.sentence,
            "checks": [check.as_json() for check in self.checks], "left_behind": list(self.left),
        }  # fmt: skip
