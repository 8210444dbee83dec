"""What LanceDB's errors mean. It has few classes for them, so they are told apart by message, and only here.

Seen with LanceDB 0.40: a missing table and a missing version are `ValueError`, so is a dead store at connect;
lost races and missing files are `RuntimeError`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from s4.kernel.errors import Unavailable


class VersionGone(Unavailable):
    """The pinned version of the table was cleaned up. The caller asks the catalog for the present one."""


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


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turns a vanished file or version into `VersionGone`, a dead or slow store into `Unavailable`."""
    try:
        yield
    except TimeoutError as error:
        raise Unavailable(f"The index did not answer in time ({what}).") from error
    except (RuntimeError, OSError, ValueError) as error:
        if _is_missing_data(error):
            raise VersionGone(f"This version of the index no longer exists ({what}).") from error
        if _is_store_trouble(error):
            raise Unavailable(f"The index could not be read ({what}).") from error
        raise


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turns whatever the store does to a write into `Unavailable`; the same call may be repeated."""
    try:
        yield
    except TimeoutError as error:
        raise Unavailable(f"The index did not answer in time ({what}).") from error
    except (RuntimeError, OSError, ValueError) as error:
        if _is_store_trouble(error):
            raise Unavailable(f"The index could not be written ({what}).") from error
        raise
