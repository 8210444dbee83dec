"""`If-Match` and `If-None-Match`, RFC 9110 section 13. An entity tag is a document's revision: `"r12"`.

Pure values: routes read the headers into a `Preconditions`, services check it against the revision that they
find inside their transaction.
"""

import re
from dataclasses import dataclass

from s4.kernel.errors import InvalidRequest, PreconditionFailed

_ETAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_SEPARATOR = re.compile(r"[ \t]*(?:,[ \t]*)*")
_TAGS_MAX = 100  # a client holds a handful of copies; more is a mistake or an attack


@dataclass(frozen=True, slots=True)
class ETag:
    """An entity tag; `opaque` is what stands between the quotes."""

    opaque: str
    weak: bool = False

    @classmethod
    def parse(cls, text: str) -> "ETag | None":
        match = _ETAG.fullmatch(text)
        return cls(match[2], weak=match[1] is not None) if match else None

    def matches_strongly(self, other: "ETag") -> bool:
        return not self.weak and not other.weak and self.opaque == other.opaque

    def matches_weakly(self, other: "ETag") -> bool:
        return self.opaque == other.opaque

    def __str__(self) -> str:
        return ("W/" if self.weak else "") + f'"{self.opaque}"'


@dataclass(frozen=True, slots=True)
class ETagList:
    """What a precondition names: tags, or with `*` any current representation."""

    tags: tuple[ETag, ...] = ()
    any: bool = False


def etag(revision: int) -> str:
    """The `ETag` header of a revision."""
    return f'"r{revision}"'


def parse_etags(header: str, *, name: str = "If-Match") -> ETagList:
    """Raises `InvalidRequest`: a precondition that is not understood must not be taken for fulfilled."""
    text = header.strip()
    if text == "*":
        return ETagList(any=True)
    tags: list[ETag] = []
    position = _end_of_separator(text, 0)
    while position < len(text):
        match = _ETAG.match(text, position)
        if match is None or len(tags) >= _TAGS_MAX:
            raise _malformed(name)
        tags.append(ETag(match[2], weak=match[1] is not None))
        after = _end_of_separator(text, match.end())
        if after < len(text) and "," not in text[match.end() : after]:
            raise _malformed(name)
        position = after
    if not tags:
        raise _malformed(name)
    return ETagList(tuple(tags))


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The conditions of one request. Without any, everything passes."""

    if_match: ETagList | None = None
    if_none_match: ETagList | None = None

    @classmethod
    def parse(cls, *, if_match: str | None = None, if_none_match: str | None = None) -> "Preconditions":
        """From the raw headers. Raises `InvalidRequest`."""
        return cls(
            parse_etags(if_match, name="If-Match") if if_match is not None else None,
            parse_etags(if_none_match, name="If-None-Match") if if_none_match is not None else None,
        )

    def check_write(self, revision: int | None) -> None:
        """Raises `PreconditionFailed` unless a write may go ahead; without a document `revision` is None."""
        if not self._if_match_holds(revision):
            raise PreconditionFailed(
                "The document is not at the revision named in If-Match: read it again, then decide.",
                details={"current": etag(revision) if revision is not None else None},
            )
        if not self._if_none_match_holds(revision):
            raise PreconditionFailed(
                "The document exists already, which If-None-Match forbids.",
                details={"current": etag(revision) if revision is not None else None},
            )

    def check_read(self, revision: int) -> bool:
        """Whether to send the representation; False means 304. Raises `PreconditionFailed` for `If-Match`."""
        if not self._if_match_holds(revision):
            raise PreconditionFailed(
                "The document is not at the revision named in If-Match.", details={"current": etag(revision)}
            )
        return self._if_none_match_holds(revision)

    def _if_match_holds(self, revision: int | None) -> bool:
        if self.if_match is None:
            return True
        if revision is None:
            return False
        current = ETag(f"r{revision}")
        return self.if_match.any or any(tag.matches_strongly(current) for tag in self.if_match.tags)

    def _if_none_match_holds(self, revision: int | None) -> bool:
        if self.if_none_match is None or revision is None:
            return True
        current = ETag(f"r{revision}")
        return not (self.if_none_match.any or any(tag.matches_weakly(current) for tag in self.if_none_match.tags))


NO_PRECONDITIONS = Preconditions()
"""Nothing is demanded."""


def _end_of_separator(text: str, position: int) -> int:
    match = _SEPARATOR.match(text, position)
    return match.end() if match else position


def _malformed(name: str) -> InvalidRequest:
    return InvalidRequest(
        f'{name} must be "*" or a list of at most {_TAGS_MAX} entity tags such as "r12", quotes included.'
    )
