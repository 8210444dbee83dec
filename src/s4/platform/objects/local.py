"""Objects as files of a directory: durable, atomic, and safe between processes.

Every write goes to a file of its own in `.tmp/`, is synced, and only then gets its name: by `rename` where it may
replace, by `link` where it must not, since `link` fails when the name exists and the kernel decides the race. Then
the directory is synced, and each of its parents, because another process may have made one of them a moment ago
and not synced it yet; a clean directory costs microseconds. So whatever was acknowledged survives a power cut, and a
crash at any step leaves nothing but a file in `.tmp/`, which the next start sweeps once it is a day old. Whoever writes
many objects and can look at each of them again, as a restore does, has them synced together at the end.

The engine's tables live under the same root and are written by the engine itself.
"""

import asyncio
import errno
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.kernel.units import KIB, MIB
from s4.platform.objects.base import (
    LIST_PAGE_MAX,
    ObjectInfo,
    ObjectMissing,
    StoreFault,
    StoreUnavailable,
    beyond_end,
)

T = TypeVar("T")

_TEMPORARY = ".tmp"  # no key and no prefix begins with a dot
_TEMPORARY_AGE_MAX = timedelta(days=1)  # longer than any upload may last
_THREADS = 16  # what waits here is the disk; a few deep queues keep it busy
_READ_BYTES = 512 * KIB  # one hop to a thread costs about 0.1 ms, reading this much about as long
_WRITE_BUFFER_BYTES = MIB
_PUBLISH_ATTEMPTS_MAX = 20  # each repeat means that a deletion pruned our empty directory under us

# The engine stages a file beside its destination as `name#1`.
_STAGED_BY_ENGINE = re.compile(r"#\d+$")


class LocalBackend:
    """Objects below `root`, which is made when it is missing. See the module's docstring."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._temporary = self._root / _TEMPORARY
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="s4-objects")
        with _os_errors_told():
            self._temporary.mkdir(parents=True, exist_ok=True)
            _sync_directory(self._root)
            _sync_directory(self._root.parent)
            _sweep(self._temporary)

    @property
    def local_root(self) -> Path | None:
        return self._root

    async def create(self, key: ObjectKey, data: bytes) -> bool:
        return await self.run(lambda: self._create(key, data))

    async def put(self, key: ObjectKey, data: bytes, *, lasting: bool = True) -> None:
        await self.run(lambda: self._put(key, data, lasting=lasting))

    async def make_last(self) -> None:
        await self.run(os.sync)  # of everything at once: some thousand objects one by one take longer by far

    async def storage_class(self, key: ObjectKey) -> str | None:  # noqa: ARG002 - a directory has none
        return None

    async def open_upload(self, key: ObjectKey, *, storage_class: str | None = None) -> "_LocalWriting":  # noqa: ARG002
        file = await self.run(lambda: _open_for_writing(self._temporary_path()))
        return _LocalWriting(self, key, file)

    async def open(self, key: ObjectKey, start: int, end: int | None) -> "_LocalReading":
        return await self.run(lambda: self._open(key, start, end))

    async def head(self, key: ObjectKey) -> ObjectInfo:
        return await self.run(lambda: self._head(key))

    async def pages(self, prefix: ObjectPrefix) -> AsyncIterator[Sequence[ObjectInfo]]:
        infos = self._walk(self._root / prefix, prefix)
        while page := await self.run(lambda: list(islice(infos, LIST_PAGE_MAX))):
            yield page

    async def children(self, prefix: ObjectPrefix) -> list[ObjectPrefix]:
        return await self.run(lambda: list(self._children(prefix)))

    async def copy(self, source: ObjectKey, target: ObjectKey) -> None:
        await self.run(lambda: self._copy(source, target))

    async def delete(self, keys: Sequence[ObjectKey]) -> None:
        await self.run(lambda: self._delete(keys))

    async def aclose(self) -> None:
        await asyncio.to_thread(self._pool.shutdown)

    # -- in a thread

    def _create(self, key: ObjectKey, data: bytes) -> bool:
        target = self._root / key
        temporary = self._write_temporary(data)
        try:
            return self.publish(temporary, target, os.link)
        except FileExistsError:
            self._sync_up(target.parent)  # the winner may not have come to that yet; its object is told to others
            return False
        finally:
            temporary.unlink(missing_ok=True)

    def _put(self, key: ObjectKey, data: bytes, *, lasting: bool) -> None:
        temporary = self._write_temporary(data, lasting=lasting)
        try:
            self.publish(temporary, self._root / key, os.replace, lasting=lasting)
        finally:
            temporary.unlink(missing_ok=True)

    def _copy(self, source: ObjectKey, target: ObjectKey) -> None:
        temporary = self._temporary_path()
        try:
            with _open_for_writing(temporary) as file:
                try:
                    with (self._root / source).open("rb") as original:
                        shutil.copyfileobj(original, file, _WRITE_BUFFER_BYTES)
                except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
                    raise ObjectMissing(source) from error
                _sync_file(file)
            self.publish(temporary, self._root / target, os.replace)
        finally:
            temporary.unlink(missing_ok=True)

    def publish(
        self, temporary: Path, target: Path, give_name: Callable[[Path, Path], None], *, lasting: bool = True
    ) -> bool:
        """Gives the synced `temporary` its name, for good. True, or what `give_name` raises."""
        for _ in range(_PUBLISH_ATTEMPTS_MAX):
            with suppress(FileNotFoundError):  # pruned under us
                if _made(target.parent):
                    give_name(temporary, target)
                    if lasting:
                        self._sync_up(target.parent)
                    return True
        raise NotADirectoryError(errno.ENOTDIR, "The directory of an object cannot be made", str(target.parent))

    def target(self, key: ObjectKey) -> Path:
        return self._root / key

    def _write_temporary(self, data: bytes, *, lasting: bool = True) -> Path:
        file = _open_for_writing(self._temporary_path())
        try:
            with file:
                file.write(data)
                if lasting:
                    _sync_file(file)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
        return Path(file.name)

    def _temporary_path(self) -> Path:
        return self._temporary / secrets.token_hex(16)

    def _open(self, key: ObjectKey, start: int, end: int | None) -> "_LocalReading":
        try:
            file = (self._root / key).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise ObjectMissing(key) from error
        info = _info(key, os.fstat(file.fileno()))
        if start > 0 and start >= info.size:
            file.close()
            raise beyond_end(info.size)
        file.seek(start)
        reading = _LocalReading(self, file, info, start, info.size if end is None else min(end, info.size))
        reading.read_if_small()
        return reading

    def _head(self, key: ObjectKey) -> ObjectInfo:
        path = self._root / key
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ObjectMissing(key) from error
        if path.is_dir():
            raise ObjectMissing(key)
        return _info(key, status)

    def _walk(self, directory: Path, prefix: str) -> Iterator[ObjectInfo]:
        """Every object below `directory`, ordered by key as S3 orders: by bytes, a directory as `name/`."""
        for name, entry in _sorted_entries(directory):
            if name.endswith("/"):
                yield from self._walk(Path(entry.path), f"{prefix}{name}")
            elif not _STAGED_BY_ENGINE.search(name):
                with suppress(FileNotFoundError):  # deleted since
                    yield _info(ObjectKey(f"{prefix}{name}"), entry.stat(follow_symlinks=False))

    def _children(self, prefix: ObjectPrefix) -> Iterator[ObjectPrefix]:
        for name, entry in _sorted_entries(self._root / prefix):
            # A crash may leave an empty directory; in a bucket there is no such thing.
            if name.endswith("/") and any(self._walk(Path(entry.path), f"{prefix}{name}")):
                yield ObjectPrefix(f"{prefix}{name}")

    def _delete(self, keys: Iterable[ObjectKey]) -> None:
        touched: set[Path] = set()
        for key in keys:
            path = self._root / key
            with suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                touched.add(self._prune(path.parent))
        for directory in touched:
            with suppress(FileNotFoundError):  # pruned with a later key
                _sync_directory(directory)

    def _prune(self, directory: Path) -> Path:
        """Removes `directory` and its parents as far as they are empty; answers with the first that stays."""
        while directory != self._root:
            try:
                directory.rmdir()  # the kernel refuses when somebody has just put something in
            except FileNotFoundError:
                pass  # another deletion was quicker
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                break
            directory = directory.parent
        return directory

    def _sync_up(self, directory: Path) -> None:
        while True:
            with suppress(FileNotFoundError):  # pruned, with the object that was in it
                _sync_directory(directory)
            if directory == self._root:
                return
            directory = directory.parent

    async def run(self, work: Callable[[], T]) -> T:
        """`work` in a thread. It runs on when the caller is cancelled, so it must hold what it touches."""

        def told() -> T:
            with _os_errors_told():
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._pool, told)


class _LocalReading:
    """An open file. The lock keeps it open under a read whose caller has gone. What fits into one chunk is read when it
    is opened: a hop to a thread takes longer than that."""

    def __init__(self, backend: LocalBackend, file: BinaryIO, info: ObjectInfo, start: int, end: int) -> None:
        self.info = info
        self.start = start
        self.end = end
        self._backend = backend
        self._file = file
        self._left = end - start
        self._lock = threading.Lock()
        self._whole: bytes | None = None

    def read_if_small(self) -> None:
        if self._left <= _READ_BYTES:
            with self._file:
                self._whole = self._file.read(self._left)

    async def next_chunk(self) -> bytes:
        if self._whole is None:
            return await self._backend.run(self._read)
        chunk, self._whole = self._whole, b""
        return chunk

    async def close(self) -> None:
        if self._whole is None:
            await self._backend.run(self._close)

    def _read(self) -> bytes:
        with self._lock:
            chunk = self._file.read(min(_READ_BYTES, self._left))
            self._left -= len(chunk)
            return chunk

    def _close(self) -> None:
        with self._lock:
            self._file.close()


class _LocalWriting:
    """A temporary file on its way to `key`."""

    def __init__(self, backend: LocalBackend, key: ObjectKey, file: BinaryIO) -> None:
        self._backend = backend
        self._key = key
        self._file = file
        self._path = Path(file.name)
        self._lock = threading.Lock()

    async def write(self, chunk: bytes) -> None:
        await self._backend.run(lambda: self._write(chunk))

    async def finish(self) -> None:
        await self._backend.run(self._finish)

    async def abort(self) -> None:
        await self._backend.run(self._abort)

    def _write(self, chunk: bytes) -> None:
        with self._lock:
            self._file.write(chunk)

    def _finish(self) -> None:
        with self._lock:
            _sync_file(self._file)
            self._file.close()
            self._backend.publish(self._path, self._backend.target(self._key), os.replace)

    def _abort(self) -> None:
        with self._lock:
            with suppress(OSError):  # closing writes what is buffered, and the disk may be full
                self._file.close()
            self._path.unlink(missing_ok=True)


def _made(directory: Path) -> bool:
    """False when a file is in the way, or a deletion pruned the directory while it was made."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        return False
    return True


def _open_for_writing(path: Path) -> BinaryIO:
    return path.open("xb", buffering=_WRITE_BUFFER_BYTES)


def _sync_file(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(temporary: Path) -> None:
    """Removes what uploads of crashed processes left behind."""
    oldest = time.time() - _TEMPORARY_AGE_MAX.total_seconds()
    for path in temporary.iterdir():
        with suppress(FileNotFoundError):  # another process sweeps, or its upload ended
            if path.stat().st_mtime < oldest:
                path.unlink()


def _sorted_entries(directory: Path) -> list[tuple[str, "os.DirEntry[str]"]]:
    try:
        with os.scandir(directory) as entries:
            named = [(f"{e.name}/" if e.is_dir(follow_symlinks=False) else e.name, e) for e in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(named, key=lambda pair: pair[0])


def _info(key: ObjectKey, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(
        key=key,
        size=status.st_size,
        last_modified=datetime.fromtimestamp(status.st_mtime, UTC),
        etag=f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"',
    )


_FAULTS = {
    errno.ENOSPC: StoreFault.FULL,
    errno.EDQUOT: StoreFault.FULL,
    errno.EACCES: StoreFault.DENIED,
    errno.EPERM: StoreFault.DENIED,
    errno.EROFS: StoreFault.DENIED,
    errno.EMFILE: StoreFault.THROTTLED,
    errno.ENFILE: StoreFault.THROTTLED,
}


@contextmanager
def _os_errors_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        raise StoreUnavailable(_FAULTS.get(number, StoreFault.ERROR), code=errno.errorcode.get(number)) from error
