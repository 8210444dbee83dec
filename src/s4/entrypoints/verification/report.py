"""What was looked at and what came of it: for a person in Markdown, for a program in JSON."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from s4.entrypoints.verification.matrix import Route

_SHOWN_MAX = 20  # failures of one check: the first say what is wrong, the hundredth says nothing new


class Verdict(StrEnum):
    """`PROVED`: all that was looked at is as it must be. `INCOMPLETE`: nothing wrong was found, but something that
    this release serves could not be looked at."""

    PROVED = "proved"
    REFUTED = "refuted"
    INCOMPLETE = "incomplete"

    @property
    def exit_code(self) -> int:
        return {"proved": 0, "refuted": 1, "incomplete": 2}[self.value]


@dataclass
class Check:
    """One thing that must be so. `count` comparisons were made. `gaps`: what should have been looked at and could not.
    `absent`: what this deployment does not have, so that there is nothing to look at."""

    name: str
    claim: str
    count: int = 0
    failures: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    routes: dict[str, bool] = field(default_factory=dict)

    def expect(self, holds: bool, said: str, *, route: Route | None = None) -> None:
        """Counts one comparison; `said` says what is wrong if it does not hold."""
        self.count += 1
        if not holds:
            self.failures.append(said)
        if route is not None:
            self.routes[route.name] = self.routes.get(route.name, True) and holds

    @property
    def result(self) -> str:
        if self.failures:
            return "FAILED"
        if self.gaps:
            return "incomplete"
        return "passed" if self.count else "not applicable"

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "claim": self.claim, "result": self.result, "count": self.count,
            "failures": self.failures, "not_proved": self.gaps, "absent": self.absent, "figures": self.figures,
            "routes": self.routes,
        }  # fmt: skip


@dataclass
class Report:
    """Everything that an auditor keeps."""

    url: str
    version: str
    verifier: str
    started_at: str
    ended_at: str = ""
    tenants: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    headers_ignored: list[str] = field(default_factory=list)
    routes: list[tuple[str, str]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    @contextmanager
    def check(self, name: str, claim: str) -> Iterator[Check]:
        """A check that stands in the report even if it is cut short."""
        check = Check(name, claim)
        self.checks.append(check)
        yield check

    def get(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    @property
    def failed(self) -> list[str]:
        return [check.name for check in self.checks if check.failures]

    @property
    def verdict(self) -> Verdict:
        if self.failed:
            return Verdict.REFUTED
        if any(check.gaps for check in self.checks):
            return Verdict.INCOMPLETE
        return Verdict.PROVED

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict.value, "url": self.url, "version": self.version, "verifier": self.verifier,
            "started_at": self.started_at, "ended_at": self.ended_at, "tenants": self.tenants, "left_behind": self.left,
            "headers_not_compared": self.headers_ignored,
            "checks": [check.as_json() for check in self.checks],
            "routes": [{"route": name, "permission": permission} for name, permission in self.routes],
        }  # fmt: skip

    def as_json_text(self) -> str:
        return json.dumps(self.as_json(), ensure_ascii=False, indent=2) + "\n"

    @property
    def verdict_sentence(self) -> str:
        return {
            Verdict.PROVED: "Proved: no tenant reached anything of another in any of these ways.",
            Verdict.REFUTED: "REFUTED: the isolation of tenants is broken, see the failures.",
            Verdict.INCOMPLETE: "Incomplete: nothing wrong was found, but not everything could be looked at.",
        }[self.verdict]

    def as_markdown(self) -> str:
        return "\n".join([*self._opening(), *self._table(), *self._findings(), *self._matrix()]) + "\n"

    def _opening(self) -> list[str]:
        return [
            "# Isolation of tenants", "", f"**{self.verdict_sentence}**", "",
            f"- Deployment: <{self.url}>, S4 {self.version}",
            f"- Verifier: S4 {self.verifier}; {self.started_at} to {self.ended_at}",
            *(f"- Tenant {letter}: {name}" for letter, name in self.tenants.items()),
            *(f"- Left behind: {each}" for each in self.left),
            "- Headers that were not compared, since they differ between any two answers: "
            + ", ".join(self.headers_ignored),
            "",
        ]  # fmt: skip

    def _table(self) -> list[str]:
        rows = [f"| {check.name} | {check.claim} | {check.count} | {check.result} |" for check in self.checks]
        return ["## Checks", "", "| check | what is claimed | comparisons | result |", "|---|---|--:|---|", *rows, ""]

    def _findings(self) -> list[str]:
        lines: list[str] = []
        for title, of in (
            ("Failures", "failures"),
            ("Not proved", "gaps"),
            ("Not proved, since this deployment does not have it", "absent"),
        ):
            found = [(check.name, getattr(check, of)) for check in self.checks if getattr(check, of)]
            if found:
                lines += [f"## {title}", ""]
            for name, said in found:
                lines += [f"- {name}: {each}" for each in said[:_SHOWN_MAX]]
                if len(said) > _SHOWN_MAX:
                    lines.append(f"- {name}: and {len(said) - _SHOWN_MAX} more")
            lines += [""] if found else []
        figures = [(name, value) for check in self.checks for name, value in check.figures.items()]
        if figures:
            lines += ["## Figures", "", *(f"- {name}: {value:g}" for name, value in figures), ""]
        return lines

    def _matrix(self) -> list[str]:
        columns = [check for check in self.checks if check.routes]
        marks = {True: "ok", False: "FAILED", None: ""}
        rows = [
            f"| `{name}` | {permission} | " + " | ".join(marks[check.routes.get(name)] for check in columns) + " |"
            for name, permission in self.routes
        ]
        heading = "| route | permission | " + " | ".join(check.name for check in columns) + " |"
        return ["## Routes", "", heading, "|---|---|" + "---|" * len(columns), *rows]
