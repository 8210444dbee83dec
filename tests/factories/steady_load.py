"""What tenants do all day, at a steady pace, and every answer judged: for replacing what serves them meanwhile.

The loop is open: a request is due at its moment whether or not the ones before it were answered, and its time counts
from that moment. Nothing is ever repeated here: a request that the balancer and S4 let fail has failed.

    with steady_load(url, key) as load:
        ...
    assert load.failed == []
    load.check()
"""

import asyncio
import contextlib
import itertools
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.factories import calls

KIB = 1024
SECONDS_MAX = 120.0  # for one answer, on a machine that is busy with starting processes
_SLOW_PIECES = 8
_SLOW_PIECE_SECONDS = 0.25  # an upload or a download takes two seconds: some are under way whenever a process stops


@dataclass(frozen=True)
class Answered:
    """One request: when it was due, how long from there to its answer, and what was wrong with that (nothing)."""

    kind: str
    due: float
    seconds: float
    wrong: str = ""


@dataclass
class SteadyLoad:
    """`answered` grows while it runs. `contents`: what was acknowledged, by document; each has a word of its own."""

    url: str
    key: str
    answered: list[Answered] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    unanswered: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Uploads by their word, with their kind, until they are acknowledged."""
    _ended: threading.Event = field(default_factory=threading.Event)
    _random: random.Random = field(default_factory=lambda: random.Random(29))

    @property
    def failed(self) -> list[Answered]:
        return [each for each in self.answered if each.wrong]

    def between(self, start: float, end: float = float("inf")) -> list[Answered]:
        """Requests that were due then (`time.monotonic`)."""
        return [each for each in self.answered if start <= each.due < end]

    def await_answers(self, kind: str, more: int = 5) -> None:
        """Returns when so many further requests of a kind were answered."""
        wanted = self._count(kind) + more
        give_up_at = time.monotonic() + SECONDS_MAX
        while self._count(kind) < wanted:
            assert time.monotonic() < give_up_at, f"no answers to {kind}"
            time.sleep(0.02)

    def _count(self, kind: str) -> int:
        return sum(each.kind == kind for each in self.answered)

    def repeat(self) -> None:
        """What nobody answered, under the same Idempotency-Key, as the client of a tenant does."""
        with self._tenant() as tenant:
            for word, (kind, content) in list(self.unanswered.items()):
                give_up_at = time.monotonic() + SECONDS_MAX
                wrong = "not sent"
                while wrong:
                    assert time.monotonic() < give_up_at, wrong
                    if kind == "upload":
                        answer = tenant.post("/documents", **_form(content, word))
                    else:
                        answer = tenant.put(f"/documents/by-key/{word}", content=content, headers=_headers(word))
                    wrong = self._note(answer, content, word)

    def check(self) -> None:
        """Everything acknowledged is ready, found by its word, the same to the byte, and there once."""
        with self._tenant() as tenant:
            for document_id, content in self.contents.items():
                assert calls.wait(tenant, document_id)["status"] == "ready"
                assert tenant.get(f"/documents/{document_id}/download").content == content
                assert calls.found(tenant, self.words[document_id]) == [document_id]
            assert set(calls.everything(tenant)) == set(self.contents), "something is there that nobody was told of"

    def _tenant(self) -> httpx.Client:
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=self._credentials, timeout=SECONDS_MAX)

    @property
    def _credentials(self) -> dict[str, str]:
        return {"X-Tenant-Key": self.key}

    # -- the loop

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        kinds: dict[Callable[[httpx.AsyncClient], Awaitable[str]], float] = {
            self.upload: 1.0,  # seconds between two of a kind: five requests a second in all
            self.upload_slowly: 2.0,
            self.search: 0.7,
            self.look: 1.3,
            self.download: 1.2,
            self.download_slowly: 2.0,
            self.wait: 3.0,
        }
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
        async with (
            httpx.AsyncClient(
                base_url=f"{self.url}/api/v1", headers=self._credentials, timeout=SECONDS_MAX, limits=limits
            ) as client,
            asyncio.TaskGroup() as group,
        ):
            for kind, pause_seconds in kinds.items():
                group.create_task(self._pace(client, group, kind, pause_seconds))

    async def _pace(
        self,
        client: httpx.AsyncClient,
        group: asyncio.TaskGroup,
        kind: Callable[[httpx.AsyncClient], Awaitable[str]],
        pause_seconds: float,
    ) -> None:
        started = time.monotonic()
        for number in itertools.count():
            due = started + number * pause_seconds
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self._ended.is_set():
                return
            group.create_task(self._judge(client, kind, due))

    async def _judge(
        self, client: httpx.AsyncClient, kind: Callable[[httpx.AsyncClient], Awaitable[str]], due: float
    ) -> None:
        try:
            wrong = await kind(client)
        except httpx.HTTPError as error:
            wrong = f"{type(error).__name__}: {error}"
        self.answered.append(Answered(kind.__name__, due, time.monotonic() - due, wrong))

    # -- the kinds: each answers with what was wrong

    async def upload(self, client: httpx.AsyncClient) -> str:
        content, word = self._content("upload")
        return self._note(await client.post("/documents", **_form(content, word)), content, word)

    async def upload_slowly(self, client: httpx.AsyncClient) -> str:
        content, word = self._content("upload_slowly", padding=32 * KIB)  # no balancer keeps so much to send it again

        async def trickle() -> AsyncIterator[bytes]:
            size = len(content) // _SLOW_PIECES + 1
            for start in range(0, len(content), size):
                yield content[start : start + size]
                await asyncio.sleep(_SLOW_PIECE_SECONDS)

        answer = await client.put(f"/documents/by-key/{word}", content=trickle(), headers=_headers(word))
        return self._note(answer, content, word)

    async def search(self, client: httpx.AsyncClient) -> str:
        answer = await client.post("/search", json={"query": "tides", "mode": "keyword", "limit": 3})
        return _wrong(answer)

    async def look(self, client: httpx.AsyncClient) -> str:
        return _wrong(await client.get("/documents", params={"limit": 20}))

    async def download(self, client: httpx.AsyncClient) -> str:
        if not self.contents:
            return ""
        document_id = self._random.choice(list(self.contents))
        answer = await client.get(f"/documents/{document_id}/download")
        return _wrong(answer) or ("" if answer.content == self.contents[document_id] else "other bytes")

    async def download_slowly(self, client: httpx.AsyncClient) -> str:
        if not self.contents:
            return ""
        document_id = self._random.choice(list(self.contents))
        read = b""
        async with client.stream("GET", f"/documents/{document_id}/download") as answer:
            async for piece in answer.aiter_raw(4 * KIB):
                read += piece
                await asyncio.sleep(_SLOW_PIECE_SECONDS)
        if answer.status_code != 200:
            return f"{answer.status_code}"
        return "" if read == self.contents[document_id] else "other bytes"

    async def wait(self, client: httpx.AsyncClient) -> str:
        """For the newest document, longer than a process takes to go."""
        if not self.contents:
            return ""
        return _wrong(await client.get(f"/documents/{list(self.contents)[-1]}", params={"wait": 20}))

    def _content(self, kind: str, *, padding: int = 0) -> tuple[bytes, str]:
        word = f"word{self._random.getrandbits(48):012x}"
        content = f"Tides and {word}.\n".encode() + b"low and high water \n" * (padding // 20)
        self.unanswered[word] = (kind, content)
        return content, word

    def _note(self, answer: httpx.Response, content: bytes, word: str) -> str:
        if answer.is_success:
            document_id = answer.json()["document_id"]
            self.contents[document_id], self.words[document_id] = content, word
            del self.unanswered[word]
        return _wrong(answer)


def _form(content: bytes, word: str) -> dict[str, Any]:
    return {
        "files": {"file": (f"{word}.txt", content, "text/plain")},
        "data": {"metadata": json.dumps({"word": word})},
        "headers": {"Idempotency-Key": word},
    }


def _headers(word: str) -> dict[str, str]:
    return {"Content-Type": "text/plain", "Idempotency-Key": word, "X-S4-Filename": f"{word}.txt"}


def _wrong(answer: httpx.Response) -> str:
    return "" if answer.is_success else f"{answer.status_code} {answer.text[:300]}"


@contextlib.contextmanager
def steady_load(url: str, key: str) -> Iterator[SteadyLoad]:
    """From here to the end of the block, when the last answers are awaited."""
    load = SteadyLoad(url, key)
    thread = threading.Thread(target=load.run, daemon=True)
    thread.start()
    try:
        yield load
    finally:
        load._ended.set()
        thread.join(2 * SECONDS_MAX)
        assert not thread.is_alive(), "requests without an answer"
