"""One text of many: the members of an archive or the attachments of a mail, each under a heading of its own.

Members have pages of their own, whose numbers would mean nothing in the whole, so the whole has none. Their
headings stand one level below the member's name. What could not be read is listed in the warnings.
"""

from collections.abc import Iterable

from s4.engine.extraction import failures
from s4.engine.extraction.markup import HEADINGS_MAX
from s4.engine.extraction.model import ExtractedText, HeadingSpan
from s4.kernel.errors import DocumentRejected

WARNINGS_MAX = 50  # a list that a person reads; the rest is counted


class Parts:
    """`text` and `headings` stand before the first member: the headers and the body of a mail."""

    def __init__(self, text: str = "", headings: Iterable[HeadingSpan] = (), *, text_chars_max: int) -> None:
        self._texts = [text] if text else []
        self._length = len(text)
        self._headings = list(headings)
        self._text_chars_max = text_chars_max
        self._refused: list[tuple[str, str]] = []
        self._warnings: list[str] = []
        self._more = 0

    def add(self, name: str, member: ExtractedText) -> None:
        """Raises `DocumentRejected` when the whole grows too long."""
        gap = "\n\n" if self._texts else ""
        start = self._length + len(gap)
        head = f"# {name}\n\n"
        self._headings.append(HeadingSpan(1, name, start))
        offset = start + len(head)
        room = max(HEADINGS_MAX - len(self._headings), 0)
        self._headings += (
            HeadingSpan(one.level + 1, one.title, one.char_start + offset) for one in member.headings[:room]
        )
        body = member.text.rstrip()
        self._texts.append(f"{gap}{head}{body}")
        self._length = offset + len(body)
        if self._length > self._text_chars_max:
            raise failures.WholeRejected.of(failures.too_long(self._text_chars_max))
        for warning in member.warnings:
            self._warn(f"{name}: {warning}")

    def refuse(self, name: str, rejected: DocumentRejected) -> None:
        """Notes why a member is missing: what its own upload would have said, without the advice."""
        sentence = f"{name}: {rejected.message.partition('. ')[0].removesuffix('.')}."
        if len(self._refused) < WARNINGS_MAX:
            self._refused.append((rejected.code, sentence))
        self._warn(sentence)

    def _warn(self, sentence: str) -> None:
        if len(self._warnings) < WARNINGS_MAX:
            self._warnings.append(sentence)
        else:
            self._more += 1

    @property
    def text(self) -> str:
        return "".join(self._texts)

    @property
    def headings(self) -> tuple[HeadingSpan, ...]:
        return tuple(self._headings)

    @property
    def warnings(self) -> tuple[str, ...]:
        more = (f"And {self._more:,} more.",) if self._more else ()
        return (*self._warnings, *more)

    def demand_text(self) -> None:
        """Raises `DocumentRejected` with the members' reasons when none of them was read."""
        if not self._texts:
            raise failures.nothing_read(self._refused, self._more)
