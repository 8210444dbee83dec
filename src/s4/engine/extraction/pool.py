"""The pool of extraction children: what the pipeline calls.

Children start when they are needed and serve one file at a time. A child is replaced after some hundred
files, when it has grown, and whenever its state is in doubt: after a timeout, a crash, a memory limit or a
cancelled call. A file that lost a child which had served others is tried once more in a fresh one, because
the others may have been the cause; a file that loses a fresh child is itself the cause.

Which file is read when is decided by `lanes`.
"""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any

from s4.engine.extraction.lanes import Lanes
from s4.engine.extraction.limits import Limits
from s4.engine.extraction.model import ExtractedText
from s4.engine.extraction.process import ChildLost, ExtractionChild
from s4.kernel.errors import DataCorrupt, DocumentRejected, Unavailable
from s4.kernel.units import MIB
from s4.platform.telemetry.metrics import EXTRACTION_CHILDREN

_GROWN_SHARE = 0.25  # of the memory limit; a child that once needed more starts the next file with less room
# An escaped character takes six bytes, rarely; headings, pages and the rest stay below the constant.
_ANSWER_BYTES_PER_CHAR = 6
_ANSWER_BYTES_SPARE = 64 * MIB


class ExtractionPool:
    """Bounded by `processes` and `slow_processes`. A call waits for its turn as long as its caller lets it."""

    def __init__(
        self,
        *,
        processes: int,
        memory_bytes: int,
        seconds_max: float,
        limits: Limits,
        scratch_bytes_max: int,
        slow_processes: int,
        fast_seconds: float,
        files_per_child: int,
        ocr_data_dir: Path | None,
    ) -> None:
        """Bounds; their meaning stands in `kernel/extraction_settings.py`."""
        self._ocr_data_dir = ocr_data_dir
        self._memory_bytes = memory_bytes
        self._seconds_max = seconds_max
        self._limits = limits
        self._scratch_bytes_max = scratch_bytes_max
        self._files_per_child = files_per_child
        self._lanes = Lanes(fast_places=processes, slow_places=slow_processes, fast_seconds=fast_seconds)
        self._idle: list[ExtractionChild] = []
        self._children: set[ExtractionChild] = set()
        self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the children that run now, for whoever measures them."""
        return tuple(child.pid for child in self._children if child.alive)

    async def preload(self) -> None:
        """Starts one child, so that the first file does not wait for the parser to load. The others start when
        there is work for them. Raises `Unavailable`."""
        self._idle.append(await self._lanes.run(self._take))

    async def extract(self, path: Path, *, filename: str, content_type: str | None) -> ExtractedText:
        """The text of the file at `path`. `filename` and `content_type` are what the tenant said; they only
        tell text formats apart.

        Raises `DocumentRejected` when the file is the reason, with `details["detected_type"]` if that was found out;
        `Unavailable` when the machine is.
        """
        request = self._request(path, filename, content_type)
        answer = await self._lanes.run(lambda: self._read(request))
        return await self._understand(answer)

    async def _read(self, request: dict[str, Any]) -> dict[str, Any]:
        child = await self._take()
        try:
            return await self._ask(child, request)
        except ChildLost as lost:
            if lost.reason == "timeout" or child.files_served == 0:
                raise self._lost(lost) from lost
        return await self._ask_fresh(request)

    def _request(self, path: Path, filename: str, content_type: str | None) -> dict[str, Any]:
        return {
            "path": str(path.absolute()),  # a child works in a folder of its own
            "filename": filename,
            "content_type": content_type,
            "limits": asdict(self._limits),
            "seconds_max": self._seconds_max,
        }

    async def aclose(self) -> None:
        """Kills all children, those at work too: their callers get `Unavailable`."""
        self._closed = True
        self._idle.clear()
        await asyncio.gather(*(child.kill() for child in tuple(self._children)))
        self._children.clear()

    async def _take(self) -> ExtractionChild:
        while not self._closed:
            if not self._idle:
                return await self._start()
            child = self._idle.pop()
            if child.alive:
                return child
            await self._discard(child, "crashed")
        raise _closing()

    async def _start(self) -> ExtractionChild:
        child = await ExtractionChild.start(
            memory_bytes=self._memory_bytes,
            scratch_bytes=self._scratch_bytes_max,
            ocr_data_dir=self._ocr_data_dir,
        )
        if self._closed:
            await child.kill()
            raise _closing()
        self._children.add(child)
        return child

    async def _ask(self, child: ExtractionChild, request: dict[str, Any]) -> dict[str, Any]:
        """The child's answer; afterwards the child is idle again, or gone."""
        reason = "recycled"  # stands for a cancelled call
        served = False
        try:
            answer = await child.ask(
                request,
                seconds_max=self._seconds_max,
                answer_bytes_max=_ANSWER_BYTES_PER_CHAR * self._limits.text_chars_max + _ANSWER_BYTES_SPARE,
            )
            served = True
        except ChildLost as lost:
            reason = lost.reason
            raise
        finally:
            worn = child.files_served >= self._files_per_child
            grown = child.memory_bytes > _GROWN_SHARE * self._memory_bytes
            if served and not (worn or grown or self._closed):
                self._idle.append(child)
            else:
                await self._discard(child, reason)
        return answer

    async def _ask_fresh(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._closed:
            raise _closing()
        try:
            return await self._ask(await self._start(), request)
        except ChildLost as lost:
            raise self._lost(lost) from lost

    async def _discard(self, child: ExtractionChild, reason: str) -> None:
        self._children.discard(child)
        if not self._closed:
            EXTRACTION_CHILDREN.labels(reason).inc()
        await child.kill()

    def _lost(self, lost: ChildLost) -> DocumentRejected | Unavailable:
        if self._closed:
            return _closing()
        if lost.reason == "timeout":
            message = (
                f"Reading the file took longer than {self._seconds_max:g} seconds. Split it or save it in a simpler "
                "form, and upload that."
            )
        elif lost.reason == "memory":
            message = "Reading the file needs more memory than is allowed. Split it and upload the parts."
        else:
            message = (
                "The file brought the program that reads it to a stop. Save it anew, or in another format such as "
                "PDF/A, and upload that."
            )
        return DocumentRejected(message, code="resource_limit")

    async def _understand(self, answer: dict[str, Any]) -> ExtractedText:
        if "ok" in answer:
            try:
                return await asyncio.to_thread(ExtractedText.from_dict, answer["ok"])
            except DataCorrupt as error:
                raise self._lost(ChildLost("crashed")) from error
        if "unreadable" in answer:
            raise Unavailable("The file cannot be read from disk.", details={"reason": answer["unreadable"]})
        refusal = answer.get("error")
        if not isinstance(refusal, dict):
            raise self._lost(ChildLost("crashed"))
        detected = refusal.get("detected_type")
        raise DocumentRejected(
            str(refusal.get("message")),
            code=str(refusal.get("code")),
            details={"detected_type": str(detected)} if detected is not None else None,
        )


def _closing() -> Unavailable:
    return Unavailable("The process is shutting down.")
