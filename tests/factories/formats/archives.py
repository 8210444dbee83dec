"""Archives, packed by the standard library."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Mapping

PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def tarred(members: Mapping[str, bytes], *, special: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    """A TAR; `special` are links, devices and folders, which have no content."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for info in special:
            archive.addfile(info)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def link(name: str, target: str, *, hard: bool = False) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.LNKTYPE if hard else tarfile.SYMTYPE
    info.linkname = target
    info.size = 5  # a lie: links have none, and readers that go by the size would open it
    return info


def device(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.CHRTYPE
    info.devmajor, info.devminor = 1, 3
    return info


def folder(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info
