"""Compares, sends and waits, with a few hands.

A file that is refused does not stop the others. What would refuse every file does: a key that is not valid, a server
that is gone. Interrupted, it leaves nothing half done: an upload that did not arrive whole is no document, and what
arrived is found again by the next run.
"""

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from s4.entrypoints.cli.transfer.documents import KnownDocument, KnownDocuments
from s4.entrypoints.cli.transfer.outcomes import Action, Failure, Outcome, failure_in, failure_of, refused
from s4client import (
    AsyncS4Client,
    Document,
    QuotaExceeded,
    RateLimited,
    S4ConnectionError,
    S4Error,
    ServerError,
    ServiceUnavailable,
    TenantSuspended,
    Unauthorized,
)

WAITED_FOR_TOGETHER_MAX = 1000
"""As many as one page of a listing shows."""
STRAIGHT_FAILURES_MAX = 10
"""As many in a row of a kind that may pass, each after its repeats, and the next one would fail as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOptions:
    """`wait_seconds` None does not wait; else it bounds how long nothing becomes searchable."""

    prefix: str
    metadata: Mapping[str, Any]
    wait_seconds: float | None
    parallel: int
    dry_run: bool = False
    retry_failed: bool = False


class Source(Protocol):
    """What is uploaded: a file of this machine, or an object elsewhere that becomes one when its bytes are needed."""

    @property
    def path(self) -> Path | str: ...
    @property
    def key(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...
    @property
    def size_bytes(self) -> int: ...

    async def is_same(self, known: KnownDocument) -> bool:
        """Whether the document has these bytes."""
        ...

    async def fetch(self) -> Path:
        """Where its bytes are. Raises `OSError`."""
        ...

    def release(self) -> None:
        """They are not needed any more."""
        ...


Found = Source | Outcome


class Listener(Protocol):
    """Hears how it goes, in the event loop's thread."""

    def advanced(self, count_bytes: int) -> None: ...
    def ended(self, outcome: Outcome) -> None: ...


class Transfer:
    """One run. `seen` are the keys of the files that were found, `stopped` is why it ended before its time."""

    def __init__(
        self, client: AsyncS4Client, known: KnownDocuments, listener: Listener, options: TransferOptions
    ) -> None:
        self.seen: set[str] = set()
        self.stopped: S4Error | None = None
        self._client = client
        self._known = known
        self._listener = listener
        self._options = options
        self._turn = asyncio.Lock()
        self._waiting: dict[str, Outcome] = {}
        self._more_to_wait_for = asyncio.Event()
        self._all_sent = False
        self._straight_failures = 0

    async def run(self, found: Iterable[Found] | AsyncIterable[Found]) -> None:
        """Reports one outcome for each file, also when it is cancelled."""
        remaining = aiter(found) if isinstance(found, AsyncIterable) else iter(found)
        try:
            async with asyncio.TaskGroup() as waiting:
                waiting.create_task(self._wait_for_documents())
                async with asyncio.TaskGroup() as sending:
                    for _ in range(self._options.parallel):
                        sending.create_task(self._take_files(remaining))
                self._all_sent = True
                self._more_to_wait_for.set()
        except ExceptionGroup as group:
            raise _first(group) from group
        finally:
            for outcome in self._waiting.values():
                self._listener.ended(outcome)

    # -- files

    async def _take_files(self, remaining: Iterator[Found] | AsyncIterator[Found]) -> None:
        while self.stopped is None:
            async with self._turn:
                if isinstance(remaining, AsyncIterator):
                    found = await anext(remaining, None)
                else:
                    found = await asyncio.to_thread(next, remaining, None)
            if found is None:
                return
            if isinstance(found, Outcome):
                self._listener.ended(found)
            elif found.key in self.seen:
                failure = Failure("same_key", f"Another file has the key {found.key!r} already.")
                self._listener.ended(
                    Outcome(path=str(found.path), key=found.key, action=Action.REFUSED, failure=failure)
                )
            else:
                self.seen.add(found.key)
                await self._transfer(found)

    async def _transfer(self, file: Source) -> None:
        try:
            known = self._known.get(file.key)
            if known is not None and await file.is_same(known):
                outcome = await self._keep(file, known)
            else:
                outcome = await self._send(file, known)
        except (S4Error, OSError) as error:
            self._listener.ended(refused(file.path, error, key=file.key))
            self._consider(error)
            return
        finally:
            file.release()
        self._straight_failures = 0
        if outcome.status == "processing" and self._options.wait_seconds is not None and not self._options.dry_run:
            assert outcome.document_id is not None
            self._waiting[outcome.document_id] = outcome
            self._more_to_wait_for.set()
        else:
            self._listener.ended(outcome)

    def _consider(self, error: S4Error | OSError) -> None:
        """Stops when the next file would fail as well."""
        passing = S4ConnectionError | QuotaExceeded | RateLimited | ServerError | ServiceUnavailable
        self._straight_failures = self._straight_failures + 1 if isinstance(error, passing) else 0
        gone = isinstance(error, S4ConnectionError) and not error.sent
        hopeless = gone or isinstance(error, Unauthorized | TenantSuspended)
        if isinstance(error, S4Error) and (hopeless or self._straight_failures >= STRAIGHT_FAILURES_MAX):
            self.stopped = self.stopped or error

    async def _send(self, file: Source, known: KnownDocument | None) -> Outcome:
        action = Action.REPLACED if known is not None else Action.UPLOADED
        if self._options.dry_run:
            return Outcome(path=str(file.path), key=file.key, action=action, sent_bytes=file.size_bytes)
        # What the document was given beside its bytes outlives them.
        metadata = {**((known and known.metadata) or {}), **self._options.metadata, **file.metadata}
        document = await self._client.put_by_key(
            file.key,
            await file.fetch(),
            metadata=metadata or None,
            progress=self._progress(),
        )
        return _outcome(file, action, document, sent_bytes=document.size)

    async def _keep(self, file: Source, known: KnownDocument) -> Outcome:
        """The bytes are the same: only what stands beside them may have to change."""
        action, status, failure = Action.UNCHANGED, known.status, known.failure
        if missing := known.lacking({**self._options.metadata, **file.metadata}):
            action = Action.METADATA
            if not self._options.dry_run:
                await self._client.patch_metadata(known.document_id, missing)
        if failure is not None and self._options.retry_failed:
            action, status, failure = Action.REPROCESSED, "processing", None
            if not self._options.dry_run:
                await self._client.reprocess(known.document_id)
        return Outcome(
            path=str(file.path),
            key=file.key,
            action=action,
            document_id=known.document_id,
            uploaded_at=known.uploaded_at,
            status=status,
            failure=failure,
        )

    def _progress(self) -> Callable[[int, int | None], None]:
        gone_bytes = 0

        def report(now_bytes: int, _: int | None) -> None:
            nonlocal gone_bytes
            self._listener.advanced(now_bytes - gone_bytes)
            gone_bytes = now_bytes

        return report

    # -- documents

    async def _wait_for_documents(self) -> None:
        while not (self._all_sent and not self._waiting):
            await self._more_to_wait_for.wait()
            self._more_to_wait_for.clear()
            while self._waiting:
                await self._wait_for_some()

    async def _wait_for_some(self) -> None:
        batch = [*itertools.islice(self._waiting.values(), WAITED_FOR_TOGETHER_MAX)]
        assert self._options.wait_seconds is not None
        try:
            await self._client.wait_all(
                map(_awaited, batch), timeout=self._options.wait_seconds, prefix=self._options.prefix, ended=self._ended
            )
        except S4Error as error:
            for outcome in batch:
                assert outcome.document_id is not None
                if self._waiting.pop(outcome.document_id, None) is not None:
                    self._listener.ended(dataclasses.replace(outcome, failure=failure_of(error)))

    def _ended(self, document_id: str, document: Document | None) -> None:
        outcome = self._waiting.pop(document_id)
        if document is None:
            failure: Failure | None = Failure("not_found", "It was deleted on the server meanwhile.")
            self._listener.ended(dataclasses.replace(outcome, status=None, failure=failure))
        else:
            failure = failure_in(document)
            self._listener.ended(dataclasses.replace(outcome, status=document.status, failure=failure))


def _first(group: ExceptionGroup) -> Exception:
    """A defect, or an output that nobody reads any more: as if there were no tasks."""
    first: Exception = group
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first


@dataclass(frozen=True, slots=True)
class _Awaited:
    document_id: str
    uploaded_at: datetime


def _awaited(outcome: Outcome) -> _Awaited:
    assert outcome.document_id is not None
    assert outcome.uploaded_at is not None
    return _Awaited(outcome.document_id, outcome.uploaded_at)


def _outcome(file: Source, action: Action, document: Document, *, sent_bytes: int) -> Outcome:
    return Outcome(
        path=str(file.path),
        key=file.key,
        action=action,
        sent_bytes=sent_bytes,
        document_id=document.document_id,
        uploaded_at=document.uploaded_at,
        status=document.status,
        failure=failure_in(document),
    )
