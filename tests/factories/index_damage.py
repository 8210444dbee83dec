"""What can happen to the objects of an index, behind the back of LanceDB and S4."""

from collections.abc import Callable

import obstore
from obstore.store import S3Store

FLIPPED_BYTES = 16  # in the middle of a file
INDEX_FOLDERS = ("data", "_indices", "_deletions", "_versions")
"""Of a table: those whose files a search needs."""


def index_objects(store: S3Store, prefix: str, folder: str) -> list[str]:
    """Paths of the files in one folder of every table below `prefix`."""
    entries = [entry for page in obstore.list(store, f"{prefix}/indices/") for entry in page]
    return sorted(str(entry["path"]) for entry in entries if f".lance/{folder}/" in str(entry["path"]))


def vanish(store: S3Store, path: str) -> None:
    obstore.delete(store, path)


def flip(store: S3Store, path: str) -> None:
    """The object stays as long as it is."""
    data = bytearray(bytes(obstore.get(store, path).bytes()))
    middle = len(data) // 2
    for place in range(middle, min(middle + FLIPPED_BYTES, len(data))):
        data[place] ^= 0xFF
    obstore.put(store, path, bytes(data))


def halve(store: S3Store, path: str) -> None:
    data = bytes(obstore.get(store, path).bytes())
    obstore.put(store, path, data[: len(data) // 2])


DAMAGES: dict[str, Callable[[S3Store, str], None]] = {"vanishes": vanish, "is flipped": flip, "is halved": halve}
