"""`POST /search`, several searches in one call, and what is like a document."""

from collections.abc import Sequence
from typing import Any

from s4.domains.search.model import Answer, Explanation, Passage, Result, Standing
from s4.domains.search.schemas import (
    BatchAnswer,
    BatchRequest,
    ChunkOut,
    ExplanationOut,
    FacetValueOut,
    NeighbourOut,
    ResultOut,
    SearchAnswer,
    SearchRequest,
    Selection,
    SimilarAnswer,
    SimilarRequest,
    StandingOut,
)
from s4.domains.search.service import SearchService
from s4.engine.vectors import Hit
from s4.kernel.ids import DocumentId
from s4.kernel.permissions import Permission
from s4.platform.http.charging import CurrentCharge
from s4.platform.http.errors import error_responses
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
        return _answered(await search.search(context, request.asked()), request)

    @router.post(
        "/search/batch",
        permission=Permission.SEARCH,
        load=Load.SEARCH,
        response_model=BatchAnswer,
        response_model_exclude_unset=True,
    )
    async def search_documents_in_batch(
        context: CurrentTenant, charge: CurrentCharge, request: BatchRequest
    ) -> BatchAnswer:
        """Several searches in one call, embedded together; an answer for each, in order. Each counts as a call."""
        asked = [each.asked() for each in request.queries]
        answers = await search.search_together(context, asked, charge=charge)
        return BatchAnswer(answers=[_answered(*pair) for pair in zip(answers, request.queries, strict=True)])

    @router.post(
        "/documents/{document_id}/similar",
        permission=Permission.SEARCH,
        load=Load.SEARCH,
        response_model=SimilarAnswer,
        responses=error_responses(409),
        response_model_exclude_unset=True,
    )
    async def similar_documents(
        context: CurrentTenant, document_id: DocumentId, request: SimilarRequest
    ) -> SimilarAnswer:
        """Documents that are most like this one in meaning, most alike first. Nothing is embedded for it."""
        answer = await search.similar(context, document_id, request.selected())
        return SimilarAnswer(document_id=document_id, **_found(answer, request))

    return router


def _answered(answer: Answer, request: SearchRequest) -> SearchAnswer:
    return SearchAnswer(query=request.query, mode=request.mode, degraded=answer.degraded, **_found(answer, request))


def _found(answer: Answer, request: Selection) -> dict[str, Any]:
    """The fields of `FoundOut`; without `facets` where none were asked for."""
    found: dict[str, Any] = {
        "results": [_result(result, request) for result in answer.results],
        "total_results": answer.total,
        "execution_time_ms": round(answer.seconds * 1000, 2),
        "next_offset": answer.next_offset,
    }
    if request.facets is not None:
        found["facets"] = {
            name: [FacetValueOut(value=each.value, count=each.count) for each in values]
            for name, values in answer.facets.items()
        }
    return found


def _result(result: Result, request: Selection) -> ResultOut:
    out = ResultOut(
        document_id=result.document.document_id,
        key=result.document.key,
        filename=result.document.filename,
        score=round(result.score, _SCORE_DIGITS),
    )
    if request.include_metadata:
        out.metadata = result.document.metadata
    if request.include_chunks:
        out.chunks = [_chunk(passage, padded=request.padding > 0) for passage in result.passages]
    return out


def _chunk(passage: Passage, *, padded: bool) -> ChunkOut:
    out = ChunkOut(score=round(passage.score, _SCORE_DIGITS), highlights=passage.highlights, **_place(passage.hit))
    if padded:
        out.before, out.after = _neighbours(passage.before), _neighbours(passage.after)
    if passage.explanation is not None:
        out.explanation = _explanation(passage.explanation)
    return out


def _neighbours(hits: Sequence[Hit]) -> list[NeighbourOut]:
    return [NeighbourOut(**_place(hit)) for hit in hits]


def _place(hit: Hit) -> dict[str, Any]:
    return {
        "text": hit.text,
        "page": hit.page,
        "char_start": hit.char_start,
        "char_end": hit.char_end,
        "heading": hit.heading,
    }


def _explanation(explanation: Explanation) -> ExplanationOut:
    return ExplanationOut(
        semantic=_standing(explanation.semantic),
        keyword=_standing(explanation.keyword),
        likeness=None if explanation.likeness is None else round(explanation.likeness, _SCORE_DIGITS),
        matched_terms=explanation.matched_terms,
    )


def _standing(standing: Standing | None) -> StandingOut | None:
    if standing is None:
        return None
    score, raw = (round(value, _SCORE_DIGITS) for value in (standing.score, standing.raw))
    return StandingOut(score=score, rank=standing.rank, raw=raw)
