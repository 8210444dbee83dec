"""What S4 needs of a directory: to write there, durably, and to give a name only once.

Tried with the calls that `platform/objects/local.py` makes, so that each is named by itself. A directory that does not
exist is made, as the first start makes it, and removed again.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from s4.entrypoints.doctor.report import Check, failed, ok, unknown, warning
from s4.kernel.settings import Settings
from s4.kernel.units import human_size

_CAUSES = {
    errno.EROFS: ("is mounted read-only", "Mount it writable, or name another directory in S4_STORE_URL."),
    errno.EACCES: ("may not be written by this user", "Let it belong to the user that S4 runs as (`chown`)."),
    errno.EPERM: ("does not allow it", "Use a file system that does: ext4, xfs, btrfs, zfs or NFS."),
    errno.EOPNOTSUPP: ("does not know how to", "Use a file system that does: ext4, xfs, btrfs, zfs or NFS."),
    errno.EINVAL: ("does not know how to", "Use a file system that does: ext4, xfs, btrfs, zfs or NFS."),
    errno.ENOSPC: ("is full", "Make room on its disk, or move it to a larger one."),
    errno.EDQUOT: ("has used up the quota of this user", "Raise the quota, or make room."),
    errno.EEXIST: ("is not a directory", "Correct S4_STORE_URL."),
    errno.ENOTDIR: ("is not a directory, or lies below a file", "Correct S4_STORE_URL."),
}


@contextmanager
def standing(root: Path) -> Iterator[None]:
    """With `root` there for the length of the block. Raises `OSError` when it cannot be made."""
    missing = [path for path in (root, *root.parents) if not path.exists()]
    root.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if missing:
            for path in (root / ".tmp", *missing):  # made by the store when it was opened
                with suppress(OSError):  # somebody has put something in meanwhile
                    path.rmdir()


def impossible(root: Path, error: OSError) -> Check:
    """When there is no directory to try anything in."""
    return _refused("writable", root, "making or writing it", error)


def examine(root: Path, settings: Settings, examination: str) -> list[Check]:
    """Files in `root` itself, not below the store's places: it may be that no folder can be made."""
    file, link = (root / f".{examination}{end}" for end in ("", "-link"))
    try:
        return [
            _tried("writable", root, lambda: _write(file), "writing a file", "Files can be written and read back."),
            _tried("synced", root, lambda: _sync(file, root), "fsync", "Files and directories are synced to disk."),
            _tried(
                "hard_links",
                root,
                lambda: os.link(file, link),
                "a hard link",
                "A name is given once: the kernel decides between two creators.",
            ),
            _room(root, settings),
        ]
    finally:
        for path in (link, file):
            with suppress(OSError):
                path.unlink()


def _write(file: Path) -> None:
    data = b"a probe of s4 doctor"
    with file.open("xb") as opened:
        opened.write(data)
    if file.read_bytes() != data:
        raise OSError(errno.EIO, "other bytes were read than written")


def _sync(file: Path, root: Path) -> None:
    for path in (file, root):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _room(root: Path, settings: Settings) -> Check:
    name = "room"
    free = shutil.disk_usage(root).free
    most = settings.upload_bytes_max
    if free < most:
        return warning(
            name,
            f"{human_size(free)} are free below {root}, and one document may be as large as {human_size(most)} "
            "(S4_UPLOAD_BYTES_MAX).",
            "Make room, or lower S4_UPLOAD_BYTES_MAX; a full disk ends uploads with 503.",
        )
    return ok(name, f"{human_size(free)} are free.")


def _tried(name: str, root: Path, attempt: Callable[[], None], what: str, good: str) -> Check:
    try:
        attempt()
    except FileNotFoundError:
        return unknown(name, f"Not tried: nothing can be written to {root}.", "Mend what is named above.")
    except OSError as error:
        return _refused(name, root, what, error)
    return ok(name, good)


def _refused(name: str, root: Path, what: str, error: OSError) -> Check:
    number = error.errno or 0
    cause, advice = _CAUSES.get(number, ("cannot be used", "Look into the system's log (`dmesg`)."))
    code = errno.errorcode.get(number, type(error).__name__)
    user = f" (user {os.geteuid()})" if number in (errno.EACCES, errno.EPERM) else ""
    return failed(name, f"{root} {cause}{user}: {what} ends with {code}.", advice)
