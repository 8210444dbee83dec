"""Waiting until documents are searchable."""

import math
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Protocol

from s4client.errors import NotFound, S4WaitTimeout
from s4client.flow import Flow, Pause, operation
from s4client.models import Document, DocumentDetail
from s4client.operations.common import document_path, given
from s4client.operations.documents import DocumentOperations

SERVER_WAIT_SECONDS_MAX = 60
"""Longest wait that one request may ask for."""
EARLY_PAUSE_SECONDS_MAX = 5.0
"""A server that answers a wait at once, since it is stopping, is asked again no more often than this."""
OLDEST_WAIT_SECONDS_MAX = 5
"""Of many documents the oldest is waited for; this often at least the others are looked at."""
LOOK_PAGE_LIMIT = 1000
LOOK_PAUSE_SECONDS = 0.1
"""For every page that was looked at; doubled up to `LOOK_PAUSE_SECONDS_MAX` while few documents end."""
LOOK_PAUSE_SECONDS_MAX = 2.0
FEW = 0.1
"""Of those that were waited for: then more ask for a pause than end meanwhile."""

Ended = Callable[[str, Document | None], None]
"""Called with the id of a document, and the document in its end state, or None when it was deleted meanwhile."""


class Awaited(Protocol):
    """What must be known of a document to wait for it: every `Document` has it."""

    @property
    def document_id(self) -> str: ...
    @property
    def uploaded_at(self) -> datetime: ...


class WaitingOperations(DocumentOperations):
    """For one document, or for many at the cost of few requests."""

    @operation
    def wait(self, document_id: str, *, timeout: float = 600.0) -> Flow[DocumentDetail]:
        """The document once it is `ready` or `failed` (then with `error`). Raises `S4WaitTimeout` after
        `timeout` seconds."""
        deadline = self.monotonic() + timeout
        pause = 0.25
        while True:
            asked_at = self.monotonic()
            asked_for = min(SERVER_WAIT_SECONDS_MAX, max(0, math.ceil(deadline - asked_at)))
            document = yield from self._get(document_path(document_id), wait_seconds=asked_for)
            if document.is_ended:
                return document
            now = self.monotonic()
            if now >= deadline:
                raise _still_in_work(document, timeout)
            if now - asked_at < asked_for / 2:
                yield Pause(min(pause, deadline - now))
                pause = min(pause * 2, EARLY_PAUSE_SECONDS_MAX)

    @operation
    def wait_all(
        self,
        documents: Iterable[Awaited],
        *,
        timeout: float = 600.0,
        prefix: str | None = None,
        ended: Ended | None = None,
    ) -> Flow[dict[str, Document | None]]:
        """Documents by their ids once each is `ready` or `failed` (then with `error`), or None if it was deleted.

        The oldest is waited for, and a listing tells of the others: a thousand documents cost a few requests.
        `prefix`, if all their keys have one, keeps that listing short. `ended` hears of each at once. Raises
        `S4WaitTimeout` when none has ended for `timeout` seconds.
        """
        pending = {each.document_id: each.uploaded_at for each in documents}
        found: dict[str, Document | None] = {}

        def settle(document_id: str, document: Document | None) -> None:
            del pending[document_id]
            found[document_id] = document
            if ended is not None:
                ended(document_id, document)

        deadline = self.monotonic() + timeout
        pause = LOOK_PAUSE_SECONDS
        while pending:
            pending_before = len(pending)
            oldest = min(pending, key=lambda document_id: pending[document_id])
            longest = OLDEST_WAIT_SECONDS_MAX if len(pending) > 1 else SERVER_WAIT_SECONDS_MAX
            asked_for = min(longest, max(0, math.ceil(deadline - self.monotonic())))
            document = yield from self._get_if_any(oldest, wait_seconds=asked_for)
            if document is None or document.is_ended:
                settle(oldest, document)
            pages = 0
            if pending and pending_before > 1:
                pages = yield from self._look_at(pending, prefix, settle)
            if len(pending) < pending_before:
                deadline = self.monotonic() + timeout
            elif document is not None and self.monotonic() >= deadline:
                raise _still_in_work(document, timeout)
            pause = min(2 * pause, LOOK_PAUSE_SECONDS_MAX)
            if pending_before - len(pending) >= FEW * pending_before:
                pause = LOOK_PAUSE_SECONDS * max(1, pages)
            if len(pending) > 1 or pending_before == 1:  # the last one is waited for at once
                yield Pause(pause)
        return found

    def _get_if_any(self, document_id: str, *, wait_seconds: int) -> Flow[DocumentDetail | None]:
        try:
            return (yield from self._get(document_path(document_id), wait_seconds=wait_seconds))
        except NotFound:
            return None

    def _look_at(self, pending: dict[str, datetime], prefix: str | None, settle: Ended) -> Flow[int]:
        """Settles those of `pending` that a listing of their time shows in an end state. Returns its pages."""
        margin = timedelta(milliseconds=1)  # the bounds of a listing are exclusive
        params = given(
            prefix=prefix or None,
            uploaded_after=min(pending.values()) - margin,
            uploaded_before=max(pending.values()) + margin,
            limit=LOOK_PAGE_LIMIT,
        )
        pages = 0
        cursor: str | None = None
        while pages == 0 or cursor is not None:
            page = yield from self._list_page(params | given(cursor=cursor))
            for document in page.documents:
                if document.is_ended and document.document_id in pending:
                    settle(document.document_id, document)
            pages += 1
            cursor = page.next_cursor
        return pages


def _still_in_work(document: Document, timeout: float) -> S4WaitTimeout:
    return S4WaitTimeout(
        f"{document.filename} ({document.document_id}) is still {document.status} after {timeout:g} s.",
        document_id=document.document_id,
        status=document.status,
    )
