"""Writes what became of each file, and the summary. With `--json`: a JSON object a line."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from s4.entrypoints.cli.output import Bar, print_json_line, print_line, print_note
from s4.entrypoints.cli.transfer.outcomes import Action, Failure, Outcome
from s4.kernel.units import human_size

LISTED_FAILURES_MAX = 100
"""A screen or two; `--json` names all, and `s4 ls --status failed` those of the server."""
UNMATCHED_SHOWN_MAX = 5
_WORDS = {
    Action.UPLOADED: "uploaded",
    Action.REPLACED: "replaced",
    Action.UNCHANGED: "unchanged",
    Action.METADATA: "metadata set",
    Action.REPROCESSED: "reprocessed",
    Action.DELETED: "deleted",
    Action.SKIPPED: "skipped",
}
_ALWAYS_SAID = (Action.UPLOADED, Action.REPLACED, Action.UNCHANGED)
_SILENT = (Action.UNCHANGED, Action.SKIPPED, Action.REFUSED)
"""Without a line of their own: the usual case, and those that the summary names."""


class Report:
    """Hears outcomes as they come; keeps numbers and the first failures, not every outcome."""

    def __init__(self, *, as_json: bool, dry_run: bool, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.bar = Bar.none()
        self.shows_bar = not as_json
        self.failed = 0
        self.extra = 0
        """Documents that a deletion would have been about."""
        self.refused = False
        """Whether something that was asked for was not done, with a note that says so."""
        self.stopped: Failure | None = None
        """Why not everything was tried."""
        self.unmatched: list[str] = []
        """Paths that a manifest names, and the source has not."""
        self._counts: Counter[Action] = Counter()
        self._named: list[Outcome] = []
        self._unsaid = 0
        self._unfinished = 0
        self._sent_bytes = 0
        self._as_json = as_json
        self._dry_run = dry_run
        self._monotonic = monotonic
        self._started = monotonic()

    def advanced(self, count_bytes: int) -> None:
        self.bar.advance(count_bytes)

    def ended(self, outcome: Outcome) -> None:
        self._counts[outcome.action] += 1
        self._sent_bytes += outcome.sent_bytes
        self.failed += outcome.is_failed
        self._unfinished += outcome.status == "processing" and not outcome.is_failed
        if self._as_json:
            print_json_line(outcome.as_json())
        elif outcome.failure is not None:
            if len(self._named) < LISTED_FAILURES_MAX:
                self._named.append(outcome)
            else:
                self._unsaid += 1
        elif outcome.action not in _SILENT:
            print_line(f"{self._would(_WORDS[outcome.action]):<12} {outcome.path}")
        self.bar.describe(self._numbers())

    def close(self) -> None:
        """The table of what went wrong, on stderr, and the summary, on stdout."""
        seconds = self._monotonic() - self._started
        if self._as_json:
            print_json_line({"summary": self._as_numbers(seconds)})
            return
        for outcome in self._named:
            assert outcome.failure is not None
            print_note(f"{outcome.path} → {outcome.failure.code}: {outcome.failure.message}")
        if self._unsaid:
            print_note(f"… and {self._unsaid} more: --json names all.")
        if self.stopped is not None:
            print_note(f"Stopped, and the rest was not tried: {self.stopped.message}")
        if self.unmatched:
            shown = ", ".join(self.unmatched[:UNMATCHED_SHOWN_MAX])
            print_note(f"The manifest names {len(self.unmatched)} that were not looked at: {shown}.")
        sent = "to send" if self._dry_run else "sent"
        print_line(f"{self._numbers().capitalize()}; {human_size(self._sent_bytes)} {sent} in {seconds:.1f} s.")
        if self._unfinished and not self._dry_run:
            print_line(f"Not searchable yet: {self._unfinished}.")
        if self.extra:
            print_line(f"Documents without a file: {self.extra}; --delete deletes them.")

    def _would(self, word: str) -> str:
        return f"would be {word}" if self._dry_run else word

    def _numbers(self) -> str:
        said = [
            f"{count} {word}"
            for action, word in _WORDS.items()
            if (count := self._counts[action]) or action in _ALWAYS_SAID
        ]
        text = ", ".join([*said, f"{self.failed} failed"])
        return f"would be: {text}" if self._dry_run else text

    def _as_numbers(self, seconds: float) -> dict[str, Any]:
        counts = {action.value: self._counts[action] for action in _WORDS}
        return {
            **counts,
            "failed": self.failed,
            "not_searchable_yet": self._unfinished,
            "extra": self.extra,
            "manifest_unmatched": len(self.unmatched),
            "sent_bytes": self._sent_bytes,
            "seconds": round(seconds, 3),
            "dry_run": self._dry_run,
            "stopped": {"code": self.stopped.code, "message": self.stopped.message} if self.stopped else None,
        }
