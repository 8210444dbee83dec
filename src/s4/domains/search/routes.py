"""`POST /search`."""

import time

from s4.domains.search.schemas import ChunkOut, ResultOut, SearchAnswer, SearchRequest
from s4.domains.search.service import Query, Result, SearchService
from s4.kernel.permissions import Permission
from s4.platform.http.places import Load
from s4.platform.http.routing import CurrentTenant, DomainRouter

_SCORE_DIGITS = 6  # more are noise of float32


def search_router(search: SearchService) -> DomainRouter:
    router = DomainRouter(tags=["search"], serves_bound_keys=True)

    @router.post(
        "/search",
        permission=Permission.SEARCH,
        load=Load.SEARCH,
        response_model=SearchAnswer,
        response_model_exclude_unset=True,
    )
    async def search_documents(context: CurrentTenant, request: SearchRequest) -> SearchAnswer:
        """Documents by meaning and keyword, best first, with the passages that match."""
        started = time.perf_counter()
        answer = await search.search(
            context,
            Query(
                text=request.query,
                mode=request.mode,
                limit=request.limit,
                offset=request.offset,
                min_score=request.min_score,
                categories=request.categories,
                document_ids=request.document_ids,
                filters=request.filters,
                chunks_per_document=request.chunks_per_document,
                with_passages=request.include_chunks,
            ),
        )
        return SearchAnswer(
            results=[_result(result, request) for result in answer.results],
            query=request.query,
            mode=request.mode,
            total_results=answer.total,
            execution_time_ms=round((time.perf_counter() - started) * 1000, 2),
            degraded=answer.degraded,
            next_offset=answer.next_offset,
        )

    return router


def _result(result: Result, request: SearchRequest) -> ResultOut:
    out = ResultOut(
        document_id=result.document.document_id,
        key=result.document.key,
        filename=result.document.filename,
        score=round(result.score, _SCORE_DIGITS),
    )
    if request.include_metadata:
        out.metadata = result.document.metadata
    if request.include_chunks:
        out.chunks = [
            ChunkOut(
                text=passage.hit.text,
                score=round(passage.score, _SCORE_DIGITS),
                page=passage.hit.page,
                char_start=passage.hit.char_start,
                char_end=passage.hit.char_end,
                heading=passage.hit.heading,
                highlights=passage.highlights,
            )
            for passage in result.passages
        ]
    return out
