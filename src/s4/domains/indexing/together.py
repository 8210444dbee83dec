"""Small documents of one tenant that are ready at the same time are embedded by one call.

The first goes at once; what becomes ready while calls are under way gathers and goes with the next, as rows gather for
a commit (`publisher.py`). So nobody waits for company that may not come, and a provider is asked less often the slower
it is. Tenants are not mixed: they take turns.

A text that is refused is its document's affair: the others of that call are asked for again, each document alone,
without what was answered already.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from s4.engine.embedding.base import Answered, Embedder, Vectors
from s4.kernel.errors import DocumentRejected
from s4.kernel.ids import TenantId

SMALL_TEXTS_MAX = 8  # of a document: a larger one fills requests by itself
_TEXTS_MAX = 128  # of a call: what providers take in one request
_CALLS_MAX = 2  # of a tenant under way: while one is on its way, another is being answered


@dataclass(slots=True)
class _Ask:
    texts: Sequence[str]
    answered: Answered
    done: asyncio.Future[None]
    rest: list[str]
    """Not answered yet."""

    def hear(self, vectors: dict[str, Vectors]) -> None:
        part = [text for text in self.rest if text in vectors]
        if part:
            self.rest = [text for text in self.rest if text not in vectors]
            self.answered(part, np.stack([vectors[text] for text in part]))

    def settle(self, error: BaseException | None = None) -> None:
        if self.done.done():  # who asked was cancelled
            return
        if error is not None and self.rest:
            self.done.set_exception(error)
        else:
            self.done.set_result(None)


class Together:
    """Belongs to one event loop."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._waiting: dict[TenantId, list[_Ask]] = {}
        self._calls: dict[TenantId, set[asyncio.Task[None]]] = {}

    async def embed(self, tenant_id: TenantId, texts: Sequence[str], answered: Answered) -> None:
        """`answered` hears of every text. Raises as the embedder does."""
        if len(texts) > SMALL_TEXTS_MAX:
            await self._embedder.embed_documents(texts, answered=answered)
            return
        ask = _Ask(texts, answered, asyncio.get_running_loop().create_future(), list(texts))
        self._waiting.setdefault(tenant_id, []).append(ask)
        self._begin(tenant_id)
        await ask.done

    def _begin(self, tenant_id: TenantId) -> None:
        calls = self._calls.setdefault(tenant_id, set())
        if tenant_id in self._waiting and len(calls) < _CALLS_MAX:
            asks = self._gathered(tenant_id)
            call = asyncio.create_task(self._call(asks))
            calls.add(call)
            call.add_done_callback(lambda call: self._ended(tenant_id, call))
            for ask in asks:
                ask.done.add_done_callback(lambda _: self._wanted(asks) or call.cancel())

    def _gathered(self, tenant_id: TenantId) -> list[_Ask]:
        waiting = self._waiting[tenant_id]
        count = texts = 0
        while count < len(waiting) and texts + len(waiting[count].texts) <= _TEXTS_MAX:
            texts += len(waiting[count].texts)
            count += 1
        gathered, rest = waiting[:count], waiting[count:]
        if rest:
            self._waiting[tenant_id] = rest
        else:
            del self._waiting[tenant_id]
        return gathered

    @staticmethod
    def _wanted(asks: Sequence[_Ask]) -> bool:
        """Whether anybody still waits for it: who stopped has no use for an answer."""
        return not all(ask.done.cancelled() for ask in asks)

    def _ended(self, tenant_id: TenantId, call: asyncio.Task[None]) -> None:
        calls = self._calls[tenant_id]
        calls.remove(call)
        self._begin(tenant_id)
        if not calls:
            del self._calls[tenant_id]

    async def _call(self, asks: list[_Ask]) -> None:
        try:
            await self._ask(asks)
        except BaseException as error:  # whoever waits must hear of it, whatever it is
            for ask in asks:
                ask.settle(error)
            raise
        for ask in asks:
            ask.settle()

    async def _ask(self, asks: list[_Ask]) -> None:
        def hear(texts: Sequence[str], rows: Vectors) -> None:
            vectors = dict(zip(texts, rows, strict=True))
            for ask in asks:
                ask.hear(vectors)

        try:
            await self._embedder.embed_documents(
                list(dict.fromkeys(text for ask in asks for text in ask.rest)), answered=hear
            )
        except DocumentRejected as error:
            if len(asks) == 1:
                asks[0].settle(error)
                return
            for ask in asks:
                if ask.rest:
                    await self._ask([ask])
        except Exception as error:
            for ask in asks:
                ask.settle(error)
