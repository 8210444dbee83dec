"""`s4` with one guard of isolation taken out: what `s4 verify-isolation` must find out.

`python -m tests.isolation.mutants NAME serve …` runs the command line with the mutant NAME. Only that process has it:
the worker that it starts is as it should be.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import sqlalchemy as sa

from s4.domains.documents.models import documents, idempotency_keys
from s4.domains.documents.queries import idempotency, listing, rows
from s4.domains.search.service import SearchService
from s4.domains.tenants import queries as tenant_queries
from s4.entrypoints.cli import app
from s4.kernel.context import TenantContext
from s4.platform.database import Connection
from s4.platform.security import credentials


@dataclass(frozen=True)
class Mutant:
    """`caught_by`: checks of the verification that must fail."""

    plant: Callable[[], None]
    caught_by: frozenset[str]


def _forgets(module: ModuleType | type, name: str, column: sa.Column[Any]) -> Callable[[], None]:
    """In the statements that `module.name` runs, every comparison of `column` becomes true."""

    def plant() -> None:
        whole = getattr(module, name)

        async def mutant(connection: Connection, *arguments: Any, **options: Any) -> Any:
            return await whole(_Forgetful(connection, column), *arguments, **options)

        setattr(module, name, mutant)

    return plant


class _Forgetful:
    """A connection that drops a column from conditions."""

    def __init__(self, connection: Connection, column: sa.Column[Any]) -> None:
        self._connection = connection
        self._column = column

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, statement: Any, *arguments: Any) -> Any:
        return await self._connection.execute(_without(statement, self._column), *arguments)


def _without(statement: Any, column: sa.Column[Any]) -> Any:
    def replaced(element: Any, **_: Any) -> Any:
        compares = isinstance(element, sa.BinaryExpression) and column in (element.left, element.right)
        return sa.true() if compares else None

    return sa.sql.visitors.replacement_traverse(statement, {}, replaced)


def _searches_in_anothers_table() -> None:
    """As if neither the table nor the catalog's check knew the tenant: one filter alone is made good by the other."""
    found = SearchService._true_hits
    last: list[Any] = []

    async def mutant(self: SearchService, context: Any, where: Any, *arguments: Any) -> Any:
        last.append((context, where))
        return await found(self, *last[0], *arguments)

    SearchService._true_hits = mutant  # type: ignore[method-assign]


def _accepts_any_secret() -> None:
    credentials.matches = lambda *_: True


def _accepts_any_administrator() -> None:
    credentials.admin_key_matches = lambda *_: True


def _ignores_scopes() -> None:
    TenantContext.require = lambda *_: None  # type: ignore[method-assign]


def _serves_the_suspended() -> None:
    known = tenant_queries.key

    async def mutant(connection: Connection, *arguments: Any) -> Any:
        row = await known(connection, *arguments)
        return _Active(row) if row is not None else None

    tenant_queries.key = mutant


class _Active:
    """A row that calls its tenant active."""

    def __init__(self, row: sa.Row[Any]) -> None:
        self._row = row
        self.status = "active"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)


def _serves_ended_keys() -> None:
    known = tenant_queries.key

    async def mutant(connection: Connection, *arguments: Any) -> Any:
        row = await known(connection, *arguments)
        if row is None:
            return None
        endless = _Active(row)
        endless.revoked_at = endless.expires_at = None  # type: ignore[attr-defined]
        endless.status = row.status
        return endless

    tenant_queries.key = mutant


MUTANTS = {
    "a document is found without its tenant": Mutant(
        _forgets(rows, "get", documents.c.tenant_id), frozenset({"another's ids", "conditions", "every byte"})
    ),
    "a list is made without the tenant": Mutant(
        _forgets(listing, "page", documents.c.tenant_id), frozenset({"lists", "every byte"})
    ),
    "an idempotency key is looked up without the tenant": Mutant(
        _forgets(idempotency, "find", idempotency_keys.c.tenant_id), frozenset({"idempotency keys"})
    ),
    "a search is made in another's table": Mutant(_searches_in_anothers_table, frozenset({"searches"})),
    "a key's secret is not compared": Mutant(_accepts_any_secret, frozenset({"credentials"})),
    "any administrator's key is taken": Mutant(_accepts_any_administrator, frozenset({"credentials"})),
    "scopes are not looked at": Mutant(_ignores_scopes, frozenset({"scopes"})),
    "a suspended tenant is served": Mutant(_serves_the_suspended, frozenset({"suspended"})),
    "keys that have ended are taken": Mutant(_serves_ended_keys, frozenset({"ended keys"})),
}

if __name__ == "__main__":
    _, chosen, *arguments = sys.argv
    MUTANTS[chosen].plant()
    sys.exit(app.run(arguments))
