"""Telling a valid key from a guess without a statement per guess.

While an address or a prefix is throttled, a key must match before it may ask the catalog by itself. One that was valid
here before matches what is remembered, and passes. All others are looked up together, one statement for all that came
within a moment: a flood of guesses costs the catalog no more than a trickle, every guess waits alike whether its prefix
exists or not, and a valid key that is new to this process waits that moment too, and passes.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import timedelta

from s4.kernel.errors import LimitReached
from s4.platform.security import credentials
from s4.platform.security.credentials import ParsedKey

FetchHashes = Callable[[Collection[str]], Awaitable[Mapping[str, str]]]
"""The hashes of those prefixes that exist."""

_REMEMBERED_MAX = 20_000  # valid keys, about 200 bytes each; a prefix's hash never changes
_BATCH_SECONDS = 0.1  # at most ten statements a second, and so much longer takes a first request in a flood
_BATCH_MAX = 500  # prefixes in one statement
_WAITING_MAX = 5_000  # more than a process can be sent in ten batches


class Hashes:
    """Of one kind of key. Lives in one event loop."""

    def __init__(self, fetch: FetchHashes) -> None:
        self._fetch = fetch
        self._remembered: OrderedDict[str, str] = OrderedDict()
        self._waiting: dict[str, asyncio.Future[str | None]] = {}
        self._task: asyncio.Task[None] | None = None

    def learn(self, prefix: str, stored_hash: str) -> None:
        """Of a key that was valid a moment ago."""
        self._remembered[prefix] = stored_hash
        self._remembered.move_to_end(prefix)
        if len(self._remembered) > _REMEMBERED_MAX:
            self._remembered.popitem(last=False)

    async def match(self, parsed: ParsedKey) -> bool:
        """Whether the key may be valid. Raises `LimitReached` when too many ask, and what the catalog raises."""
        if credentials.matches(parsed.plaintext, self._remembered.get(parsed.prefix)):
            return True
        return credentials.matches(parsed.plaintext, await self._looked_up(parsed.prefix))

    async def _looked_up(self, prefix: str) -> str | None:
        future = self._waiting.get(prefix)
        if future is None:
            if len(self._waiting) >= _WAITING_MAX:
                raise LimitReached("Too many keys are being tried; try again.", retry_after=timedelta(seconds=1))
            future = self._waiting[prefix] = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer())
        return await asyncio.shield(future)

    async def _answer(self) -> None:
        while self._waiting:  # ends: nobody waits any more
            await asyncio.sleep(_BATCH_SECONDS)
            batch = {prefix: self._waiting.pop(prefix) for prefix in list(self._waiting)[:_BATCH_MAX]}
            try:
                found = await self._fetch(batch)
            except Exception as error:  # whoever asked is told, and the others go on
                for future in batch.values():
                    future.set_exception(error)
                    future.exception()  # it is read here, should the caller have gone away meanwhile
                continue
            for prefix, future in batch.items():
                future.set_result(found.get(prefix))
