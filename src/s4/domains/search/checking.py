"""Whether queries make sense, before anything is asked and paid, and the conditions that they set."""

from collections.abc import Sequence

from s4.domains.documents.queries import filters as document_filters
from s4.domains.documents.queries import scope
from s4.domains.search import queries as search_queries
from s4.domains.search.model import Query
from s4.domains.search.queries import Condition
from s4.kernel.context import TenantContext
from s4.kernel.errors import InvalidRequest

_NEIGHBOURS_MAX = 2_000  # chunks in one answer that are there for context only
_PASSAGES_MAX = 5_000  # in the answers to queries that are asked together: what one alone may ask for


def checked(context: TenantContext, query: Query) -> list[Condition]:
    """What every statement of the search asks for: the caller's bounds, which also narrow the search inside the index,
    and the query's conditions. Raises `InvalidRequest` for a query that is none."""
    if (neighbours := _neighbours(query)) > _NEIGHBOURS_MAX:
        raise InvalidRequest(
            f"2 × padding × limit × chunks_per_document may be at most {_NEIGHBOURS_MAX}, and is {neighbours}."
        )
    return [*scope.bounds(context.restriction), *_conditions(query)]


def all_checked(context: TenantContext, queries: Sequence[Query]) -> list[list[Condition]]:
    """`checked` for each. Together they may ask for as much as one may, which bounds the answer in memory."""
    found: list[list[Condition]] = []
    for number, query in enumerate(queries):
        try:
            found.append(checked(context, query))
        except InvalidRequest as error:
            details = error.details | {"query": number}
            raise InvalidRequest(f"queries[{number}]: {error.message}", details=details) from error
    passages = sum(_passages(query) for query in queries if query.with_passages)
    neighbours = sum(map(_neighbours, queries))
    if passages > _PASSAGES_MAX or neighbours > _NEIGHBOURS_MAX:
        raise InvalidRequest(
            f"limit × chunks_per_document may be at most {_PASSAGES_MAX} over all queries, and is {passages}; "
            f"2 × padding × that at most {_NEIGHBOURS_MAX}, and is {neighbours}."
        )
    return found


def _passages(query: Query) -> int:
    """At most."""
    return query.limit * query.chunks_per_document


def _neighbours(query: Query) -> int:
    """At most."""
    return 2 * query.padding * _passages(query)


def _conditions(query: Query) -> list[Condition]:
    conditions: list[Condition] = []
    if query.categories is not None:
        conditions.append(
            document_filters.compile_filter({"field": "category", "op": "in", "value": list(query.categories)})
        )
    if query.document_ids is not None:
        conditions.append(search_queries.in_ids(query.document_ids))
    if query.filters is not None:
        conditions.append(document_filters.compile_filter(query.filters))
    return conditions
