"""Copies of index tables on local disk: a search of a warm table asks the store for nothing.

LanceDB's files never change once they are written, and a version's manifest names all that the version needs. So a
copy at version `v` is: the manifest of `v` from the store, every file that it names, and then, last, the manifest
itself. A manifest on disk therefore vouches for its files; after a crash in the middle there is none, and the next
fill goes on with what is there already. Nothing mutable is copied: which version to read is said by the catalog.

What is fetched is held against what was recorded when it was committed (`files.py`). Bytes that turned on the way are
fetched once more; if they are other ones in the store itself, nothing is served from them, and whoever asked is told.

- `fill.py` decides what a version needs, fetches what is missing in parallel ranges, and writes the manifest;
- `disk.py` is the directory: where a copy lies, which versions it holds, locks between processes, removal;
- `keeper.py` keeps the hottest tables within a bound of bytes, least recently used out, fills each once however many
  ask for it at a time, and drops a copy that turns out to be damaged.

A search for which there is no copy, or none yet, reads the store. So does one whose copy another process has just
removed: it meets `VersionGone`, and asks again.
"""

from s4.engine.vectors.copies.keeper import CopyLimits, Recorded, TableCopies

__all__ = ["CopyLimits", "Recorded", "TableCopies"]
