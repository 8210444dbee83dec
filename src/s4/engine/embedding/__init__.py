"""Texts to vectors: the bundled model, a provider over HTTP, or hashed words.

`base.Embedder` is what the rest of S4 knows. `groups` is how vectors are kept so that none is computed twice.
Everything is an argument; which embedder runs is decided where the process is put together.
"""

from s4.engine.embedding.base import Embedder, Vectors
from s4.engine.embedding.groups import Group, decode_vectors, encode_vectors, groups

__all__ = ["Embedder", "Group", "Vectors", "decode_vectors", "encode_vectors", "groups"]
