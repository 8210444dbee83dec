"""Vectors of queries that were asked before: for the same words a tenant's provider is asked, and paid, once.

Kept in the memory of one process, within bounds, and named by tenant, embedding space and text: another model is
another name, so nothing has to be thrown away. No tenant is answered from what another asked, for an answer that comes
sooner would tell that somebody had asked it. Of a text only its digest is kept.

A tenant has a share of the memory, within which it puts out its own oldest. Beyond all of it, who has not asked for
longest loses its oldest.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from s4.engine.embedding.base import Embedder, Vectors
from s4.kernel.errors import Unavailable
from s4.kernel.ids import TenantId
from s4.kernel.units import KIB, MIB
from s4.platform.telemetry import metrics

BYTES_MAX = 16 * MIB  # some 8,000 queries of the bundled model
TENANT_BYTES_MAX = 1 * MIB  # some 500 of them, or 80 with the longest vectors that providers have
_ENTRY_BYTES = KIB // 2  # beside the vector: name, objects, places in two tables

_Name = tuple[str, bytes]
"""Embedding space, and digest of the text."""


class QueryVectors:
    """Belongs to one event loop."""

    def __init__(self, *, bytes_max: int = BYTES_MAX, tenant_bytes_max: int = TENANT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._tenant_bytes_max = tenant_bytes_max
        self._tenants: OrderedDict[TenantId, _Remembered] = OrderedDict()
        self._bytes = 0

    async def of(self, tenant_id: TenantId, embedder: Embedder, texts: Sequence[str]) -> list[Vectors]:
        """A vector for each text, in order; those that are not remembered are embedded together. Raises as the
        embedder does."""
        found = self._recalled(tenant_id, embedder, texts)
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        metrics.QUERY_VECTORS.labels("hit").inc(len(found))
        metrics.QUERY_VECTORS.labels("miss").inc(len(missing))
        if missing:
            made = dict(zip(missing, await embedder.embed_queries(missing), strict=True))
            self._keep(tenant_id, embedder.space, made)
            found |= made
        return [found[text] for text in texts]

    def _recalled(self, tenant_id: TenantId, embedder: Embedder, texts: Sequence[str]) -> dict[str, Vectors]:
        remembered = self._tenants.get(tenant_id)
        if remembered is None:
            return {}
        try:
            space = embedder.space
        except Unavailable:  # it never answered
            return {}
        self._tenants.move_to_end(tenant_id)
        return {text: vector for text in texts if (vector := remembered.get(_name(space, text))) is not None}

    def _keep(self, tenant_id: TenantId, space: str, made: dict[str, Vectors]) -> None:
        remembered = self._tenants.setdefault(tenant_id, _Remembered())
        self._tenants.move_to_end(tenant_id)
        for text, vector in made.items():
            self._bytes += remembered.put(_name(space, text), vector)
            while remembered.bytes > self._tenant_bytes_max:
                self._bytes -= remembered.drop_oldest()
        while self._bytes > self._bytes_max:
            longest_ago, its = next(iter(self._tenants.items()))
            if its.bytes:
                self._bytes -= its.drop_oldest()
            else:
                del self._tenants[longest_ago]


class _Remembered:
    """One tenant's, least recently asked first."""

    def __init__(self) -> None:
        self._vectors: OrderedDict[_Name, Vectors] = OrderedDict()
        self.bytes = 0

    def get(self, name: _Name) -> Vectors | None:
        vector = self._vectors.get(name)
        if vector is not None:
            self._vectors.move_to_end(name)
        return vector

    def put(self, name: _Name, vector: Vectors) -> int:
        """By how many bytes it grew."""
        if name in self._vectors:  # another request asked the same meanwhile
            return 0
        self._vectors[name] = vector.copy()  # not the array of all that were made with it
        return self._grow(vector, 1)

    def drop_oldest(self) -> int:
        """By how many bytes it shrank."""
        _, vector = self._vectors.popitem(last=False)
        return -self._grow(vector, -1)

    def _grow(self, vector: Vectors, sign: int) -> int:
        grown = sign * (vector.nbytes + _ENTRY_BYTES)
        self.bytes += grown
        return grown


def _name(space: str, text: str) -> _Name:
    return space, hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
