"""What a hostile file is to the tests."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class HostileFile:
    """`filename` is what the stranger calls it. `heavy`: takes seconds to read or hundreds of megabytes to make, so
    `make hostile` reads it, not `make test`."""

    name: str
    filename: str
    ends: frozenset[str]
    make: Callable[[], bytes]
    heavy: bool = False


class Shelf(list[HostileFile]):
    """Collects the files of a module: its functions are put on it by a decorator."""

    def add(
        self, name: str, filename: str, *ends: str, heavy: bool = False
    ) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
        def put(make: Callable[[], bytes]) -> Callable[[], bytes]:
            self.append(HostileFile(name, filename, frozenset(ends), make, heavy))
            return make

        return put
