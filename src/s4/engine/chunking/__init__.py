"""Extracted text to passages that fit the embedding model and can be cited.

A chunk is a slice of the stored text, known by its code point offsets, with the page and the headings that
it stands under. `chunker` cuts; `units` measures in tokens; `outline` knows pages and headings; `titles`
tells a title from a file name.
"""

from s4.engine.chunking.chunker import CHUNKER, Chunk, chunk
from s4.engine.chunking.titles import real_title
from s4.engine.chunking.units import TokenOffsets

__all__ = ["CHUNKER", "Chunk", "TokenOffsets", "chunk", "real_title"]
