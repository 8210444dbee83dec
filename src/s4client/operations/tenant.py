"""What a tenant's key opens: documents, waiting for them, searching in them, and keys."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Required, TypedDict

from s4client.flow import Flow, Request, operation
from s4client.models import Granularity, Profile, SearchResults, SimilarDocuments, Usage
from s4client.models.search import SearchesTogether
from s4client.operations.common import API, given, segment
from s4client.operations.keys import KeysOperations
from s4client.operations.waiting import WaitingOperations
from s4client.operations.webhooks import WebhooksOperations

SearchMode = Literal["hybrid", "semantic", "keyword"]


class SearchQuery(TypedDict, total=False):
    """One of several searches. The fields are the parameters of `search`."""

    query: Required[str]
    mode: SearchMode
    limit: int
    offset: int
    min_score: float
    categories: Sequence[str]
    document_ids: Sequence[str]
    filters: Mapping[str, Any]
    include_metadata: bool
    include_chunks: bool
    chunks_per_document: int
    padding: int
    facets: Sequence[str]
    explain: bool


class TenantOperations(WaitingOperations, KeysOperations, WebhooksOperations):
    """Everything that a tenant can do."""

    credential_header = "X-Tenant-Key"

    @operation
    def search(
        self,
        query: str,
        *,
        mode: SearchMode = "hybrid",
        limit: int = 5,
        offset: int = 0,
        min_score: float = 0.0,
        categories: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        filters: Mapping[str, Any] | None = None,
        include_metadata: bool = True,
        include_chunks: bool = True,
        chunks_per_document: int = 3,
        padding: int = 0,
        facets: Sequence[str] | None = None,
        explain: bool = False,
    ) -> Flow[SearchResults]:
        """The documents that speak of `query`, best first, with the passages that do.

        `padding`: so many chunks before and after each passage come with it. `facets`: metadata fields whose values
        are counted over the documents found. `explain`: each passage says why it is where it is.
        """
        question = given(
            query=query, mode=mode, limit=limit, offset=offset, min_score=min_score, categories=categories,
            document_ids=document_ids, filters=filters, include_metadata=include_metadata,
            include_chunks=include_chunks, chunks_per_document=chunks_per_document, padding=padding or None,
            facets=facets, explain=explain or None,
        )  # fmt: skip
        reply = yield from self.send(Request(method="POST", path=f"{API}/search", json=question, repeatable=True))
        return reply.parse(SearchResults)

    @operation
    def search_together(self, queries: Sequence[SearchQuery]) -> Flow[tuple[SearchResults, ...]]:
        """Several searches in one call, at most 20, embedded together: an answer for each, in order. Each counts as a
        call; `RateLimited` and `QuotaExceeded` when there are not so many left."""
        asked = {"queries": [dict(query) for query in queries]}
        reply = yield from self.send(Request(method="POST", path=f"{API}/search/batch", json=asked, repeatable=True))
        return reply.parse(SearchesTogether).answers

    @operation
    def similar(
        self,
        document_id: str,
        *,
        limit: int = 5,
        offset: int = 0,
        min_score: float = 0.0,
        categories: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        filters: Mapping[str, Any] | None = None,
        include_metadata: bool = True,
        include_chunks: bool = True,
        chunks_per_document: int = 3,
    ) -> Flow[SimilarDocuments]:
        """The documents that are most like this one in meaning. Raises `NotFound`, and `Conflict` for one that is not
        searchable (yet)."""
        asked = given(
            limit=limit, offset=offset, min_score=min_score, categories=categories, document_ids=document_ids,
            filters=filters, include_metadata=include_metadata, include_chunks=include_chunks,
            chunks_per_document=chunks_per_document,
        )  # fmt: skip
        path = f"{API}/documents/{segment(document_id)}/similar"
        reply = yield from self.send(Request(method="POST", path=path, json=asked, repeatable=True))
        return reply.parse(SimilarDocuments)

    @operation
    def profile(self) -> Flow[Profile]:
        """The tenant that the key speaks for, its plan and what it has used."""
        reply = yield from self.send(Request(method="GET", path=f"{API}/profile", repeatable=True))
        return reply.parse(Profile)

    @operation
    def usage(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        granularity: Granularity = "day",
    ) -> Flow[Usage]:
        """What the tenant used, from `since` up to, not including, `until`."""
        asked = {"from": since, "to": until, "granularity": granularity}
        request = Request(method="GET", path=f"{API}/usage", params=given(**asked), repeatable=True)
        reply = yield from self.send(request)
        return reply.parse(Usage)
