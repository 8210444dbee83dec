"""Uploads many files with a few hands, and waits beside that until each document is searchable.

A file that is refused does not stop the others. What would refuse every file does: a key that is not valid, a
server that cannot be reached. The files that were not tried then are reported as such.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from s4client import (
    AsyncS4Client,
    Document,
    DocumentDetail,
    S4ApiError,
    S4ConnectionError,
    S4Error,
    S4WaitTimeout,
    TenantSuspended,
    Unauthorized,
)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file and the key to put it under, if any."""

    path: Path
    key: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a file was refused or its document ended `failed`."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file. There is no document if it was refused."""

    path: Path
    document: Document | None
    failure: Failure | None


class Listener(Protocol):
    """Hears how it goes, in the event loop's thread."""

    def advanced(self, count_bytes: int) -> None: ...
    def ended(self, outcome: Outcome) -> None: ...


class Uploader:
    """One run over some files. `wait_seconds` None does not wait for the documents."""

    def __init__(
        self,
        client: AsyncS4Client,
        listener: Listener,
        *,
        metadata: Mapping[str, Any],
        wait_seconds: float | None,
        parallel: int,
    ) -> None:
        self._client = client
        self._listener = listener
        self._metadata = metadata
        self._wait_seconds = wait_seconds
        self._parallel = parallel
        self._uploaded: asyncio.Queue[tuple[Path, Document] | None] = asyncio.Queue()
        self._stopped: S4Error | None = None

    async def run(self, uploads: list[Upload]) -> None:
        """Reports one outcome for each of `uploads`."""
        remaining = iter(uploads)
        async with asyncio.TaskGroup() as waiting:
            for _ in range(self._parallel):
                waiting.create_task(self._wait_for_documents())
            async with asyncio.TaskGroup() as uploading:
                for _ in range(self._parallel):
                    uploading.create_task(self._upload_files(remaining))
            for _ in range(self._parallel):
                self._uploaded.put_nowait(None)
        if self._stopped is not None:
            for upload in remaining:
                failure = Failure("not_tried", "Not tried, because all would fail.")
                self._listener.ended(Outcome(upload.path, None, failure))

    async def _upload_files(self, remaining: Iterator[Upload]) -> None:
        for upload in remaining:
            try:
                document = await self._upload(upload)
            except (S4Error, OSError) as error:
                self._listener.ended(Outcome(upload.path, None, failure_of(error)))
                if isinstance(error, Unauthorized | TenantSuspended | S4ConnectionError):
                    self._stopped = error
            else:
                if self._wait_seconds is None:
                    self._listener.ended(Outcome(upload.path, document, None))
                else:
                    self._uploaded.put_nowait((upload.path, document))
            if self._stopped is not None:
                return

    async def _upload(self, upload: Upload) -> Document:
        progress = self._progress()
        if upload.key is None:
            return await self._client.upload(upload.path, metadata=self._metadata or None, progress=progress)
        return await self._client.put_by_key(
            upload.key, upload.path, metadata=self._metadata or None, progress=progress
        )

    def _progress(self) -> Callable[[int, int | None], None]:
        gone_bytes = 0

        def report(now_bytes: int, _: int | None) -> None:
            nonlocal gone_bytes
            self._listener.advanced(now_bytes - gone_bytes)
            gone_bytes = now_bytes

        return report

    async def _wait_for_documents(self) -> None:
        while (item := await self._uploaded.get()) is not None:
            path, document = item
            try:
                assert self._wait_seconds is not None
                ended = await self._client.wait(document.document_id, timeout=self._wait_seconds)
            except S4Error as error:
                self._listener.ended(Outcome(path, document, failure_of(error)))
            else:
                self._listener.ended(Outcome(path, ended, _failure_in(ended)))


def _failure_in(document: DocumentDetail) -> Failure | None:
    if document.status != "failed":
        return None
    if document.error is None:
        return Failure("failed", "The document could not be processed.")
    return Failure(document.error.code, document.error.message)


def failure_of(error: S4Error | OSError) -> Failure:
    """The code and message of what was raised."""
    match error:
        case S4ApiError():
            return Failure(error.code, error.message)
        case S4ConnectionError():
            return Failure("connection_failed", str(error))
        case S4WaitTimeout():
            return Failure("timeout", str(error))
        case OSError():
            return Failure("file_error", error.strerror or str(error))
        case _:
            return Failure("client_error", str(error))
