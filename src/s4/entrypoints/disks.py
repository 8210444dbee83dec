"""The disks that S4 writes to, and whether they have room: for metrics, readiness and `s4 doctor`."""

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from s4.kernel.settings import Settings
from s4.platform.resources import read_disk

_OWN = ("data", "temporary")
_SERVED_FROM = (*_OWN, "objects")
"""Backups are not: no request is better off elsewhere because these have no room."""


def folders(settings: Settings) -> dict[str, Path]:
    """What S4 writes to on disks, by what for."""
    found = {"data": settings.data_dir.absolute(), "temporary": Path(tempfile.gettempdir())}
    for what, url in (("objects", settings.store_url), ("backups", settings.backup_url)):
        parts = urlsplit(url or "")
        if parts.scheme == "file":
            found[what] = Path(unquote(parts.path))
    return found


def watched(settings: Settings) -> dict[str, Path]:
    """Those whose figures a process tells: its own two, and where objects or backups lie on a disk besides."""
    found = folders(settings)
    own = {_device(found[what]) for what in _OWN}
    return {what: folder for what, folder in found.items() if what in _OWN or _device(folder) not in own}


def without_room(settings: Settings) -> Mapping[str, int]:
    """What requests are served from and has less free than `disk_floor_bytes`: how much, by what it is for."""
    looked = {what: read_disk(folder) for what, folder in folders(settings).items() if what in _SERVED_FROM}
    known = {what: found[1] for what, found in looked.items() if found is not None and found[0]}  # some tell no size
    return {what: free for what, free in known.items() if free < settings.disk_floor_bytes}


def _device(folder: Path) -> int | None:
    with contextlib.suppress(OSError):
        return next(each for each in (folder, *folder.parents) if each.exists()).stat().st_dev
    return None
