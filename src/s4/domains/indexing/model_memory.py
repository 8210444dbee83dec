"""Known embedding models, kept in the bucket: one small object per model, made once and never changed.

It is the operator's, not a tenant's, and it outlives the catalog: the vectors that it vouches for do too.
"""

import json

import numpy as np

from s4.engine.embedding.known import KnownModel
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt
from s4.platform.objects import ObjectMissing, ObjectStore

FORMAT = 1


class BucketModelMemory:
    """A `ModelMemory`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def load(self, name: str) -> KnownModel | None:
        """Raises `DataCorrupt` when the object cannot be read."""
        key = keys.embedding_model(name)
        try:
            kept = json.loads(await self._store.get(key))
        except ObjectMissing:
            return None
        except ValueError as error:
            raise DataCorrupt(f"{key} in the bucket cannot be read: delete it, then the model is met anew.") from error
        if not isinstance(kept, dict) or kept.get("format") != FORMAT:
            raise DataCorrupt(f"{key} in the bucket has another format than {FORMAT}: use a newer release of S4.")
        return KnownModel(np.array(kept["canary"], dtype=np.float32))

    async def save(self, name: str, known: KnownModel) -> KnownModel:
        """The first one stays."""
        described = {"format": FORMAT, "dimension": known.dimension, "canary": [float(x) for x in known.canary]}
        await self._store.create(keys.embedding_model(name), json.dumps(described).encode(), commit_id=None)
        return await self.load(name) or known
