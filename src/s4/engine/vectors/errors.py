"""What LanceDB's errors mean. It has few classes for them, so they are told apart by message, and only here.

Seen with LanceDB 0.40: a missing table and a missing version are `ValueError`, so is a dead store at connect;
lost races and missing files are `RuntimeError`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from s4.kernel.errors import Unavailable


class IndexFault(Unavailable):
    """LanceDB could not do it, and time was not what it lacked: the store fails, or files are gone or damaged. Which of
    them, a look at the store says."""


class VersionGone(IndexFault):
    """The pinned version of the table was cleaned up. The caller asks the catalog for the present one."""


class IndexDamaged(IndexFault):
    """Files of the index are missing, or are not what was committed."""


def is_missing_table(error: Exception) -> bool:
    return isinstance(error, ValueError) and "Table" in str(error) and "was not found" in str(error)


def is_table_exists(error: Exception) -> bool:
    return "already exists" in str(error)


def is_conflict(error: Exception) -> bool:
    """A commit that lost against another one and may be tried again."""
    return isinstance(error, RuntimeError) and "conflict" in str(error).lower()


def _is_missing_data(error: Exception) -> bool:
    message = str(error).lower()
    return "no longer exists" in message or "not found" in message


def _is_store_trouble(error: Exception) -> bool:
    return not isinstance(error, ValueError) or "Failed to connect" in str(error) or "IO" in str(error)


def _is_panic(error: Exception) -> bool:
    """Files whose bytes have turned make LanceDB panic now and then. The class cannot be imported."""
    return type(error).__name__ == "RustPanic"


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turns a vanished file or version into `VersionGone`, a slow store into `Unavailable`, and whatever else is wrong
    with the store or the files into `IndexFault`."""
    try:
        yield
    except TimeoutError as error:
        raise Unavailable(f"The index did not answer in time ({what}).") from error
    except (RuntimeError, OSError, ValueError) as error:
        if _is_missing_data(error):
            raise VersionGone(f"This version of the index no longer exists ({what}).") from error
        if _is_store_trouble(error):
            raise IndexFault(f"The index could not be read ({what}).") from error
        raise
    except Exception as error:
        if not _is_panic(error):
            raise
        raise IndexFault(f"The index could not be read ({what}).") from error


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turns a slow store into `Unavailable`, and whatever else it does to a write, or its files, into `IndexFault`; the
    same call may be repeated."""
    try:
        yield
    except TimeoutError as error:
        raise Unavailable(f"The index did not answer in time ({what}).") from error
    except (RuntimeError, OSError, ValueError) as error:
        if _is_store_trouble(error):
            raise IndexFault(f"The index could not be written ({what}).") from error
        raise
    except Exception as error:
        if not _is_panic(error):
            raise
        raise IndexFault(f"The index could not be written ({what}).") from error
