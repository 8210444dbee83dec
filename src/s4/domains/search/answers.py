"""From true hits to an answer: scores, documents, the page, and what was asked for beside it."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from s4.domains.search.model import Answer, Explanation, FacetValue, Passage, Query, Result, Standing
from s4.domains.search.queries import Found
from s4.engine.analysis import ParsedQuery, parse
from s4.engine.ranking import (
    DocumentHit,
    Highlighter,
    Mode,
    ScoredHit,
    fuse,
    group,
    keyword_score,
    liken,
    prefer,
    semantic_score,
)
from s4.engine.vectors import Hit

FACET_VALUES_MAX = 50
"""Of one field, the most frequent."""


def answer_of(query: Query, mode: Mode, hits: list[Hit], found: dict[str, Found], *, degraded: bool) -> Answer:
    """`mode` is how it was searched: by keyword alone when the query could not be embedded. `hits` are true ones, and
    their documents in `found`."""
    parsed = parse(query.text)
    scored = [hit for hit in _scored(hits, mode, parsed) if hit.score >= query.min_score]
    documents: list[DocumentHit[Hit]] = group(scored, chunks_per_document=query.chunks_per_document)
    highlighter = Highlighter(parsed)
    explain = _explainer(hits, parsed, highlighter) if query.explain else lambda _: None
    page = documents[query.offset : query.offset + query.limit]

    def passage(chunk: ScoredHit[Hit]) -> Passage:
        return Passage(chunk.hit, chunk.score, highlighter.spans(chunk.hit.text), explain(chunk))

    results = [
        Result(
            found[document.document_id],
            document.score,
            [passage(chunk) for chunk in document.chunks] if query.with_passages else [],
        )
        for document in page
    ]
    end = query.offset + len(page)
    return Answer(
        results,
        len(documents),
        degraded,
        end if page and end < len(documents) else None,
        _facets([found[document.document_id] for document in documents], query.facets),
    )


def _scored(hits: Sequence[Hit], mode: Mode, parsed: ParsedQuery) -> list[ScoredHit[Hit]]:
    scored = fuse(hits, mode=mode, terms=len(parsed.terms))
    if mode is not Mode.SEMANTIC and parsed.exact_share > 0:
        scored = prefer(scored, exact=lambda hit: parsed.exact_in(_said(hit)), share=parsed.exact_share)
    return liken(scored) if mode is Mode.HYBRID else scored


def _said(hit: Hit) -> str:
    return f"{hit.heading}\n{hit.text}" if hit.heading else hit.text


def _explainer(
    hits: Sequence[Hit], parsed: ParsedQuery, highlighter: Highlighter
) -> Callable[[ScoredHit[Hit]], Explanation | None]:
    nearest = _ranks({hit.chunk_id: hit.semantic for hit in hits if hit.semantic is not None})
    matching = _ranks({hit.chunk_id: hit.keyword for hit in hits if hit.keyword})

    def explain(scored: ScoredHit[Hit]) -> Explanation:
        hit = scored.hit
        semantic = keyword = None
        if hit.semantic is not None:
            semantic = Standing(semantic_score(hit.semantic), nearest[hit.chunk_id], hit.semantic)
        if hit.keyword:
            score = keyword_score(hit.keyword, terms=len(parsed.terms))
            keyword = Standing(score, matching[hit.chunk_id], hit.keyword)
        return Explanation(semantic, keyword, scored.likeness, highlighter.matched(_said(hit)))

    return explain


def _ranks(scores: dict[str, float]) -> dict[str, int]:
    ordered = sorted(scores, key=lambda name: (-scores[name], name))
    return {name: rank for rank, name in enumerate(ordered, start=1)}


def _facets(documents: Sequence[Found], fields: Sequence[str]) -> dict[str, list[FacetValue]]:
    counts: dict[str, Counter[tuple[str, Any]]] = {name: Counter() for name in fields}
    if fields:
        for document in documents:
            metadata = document.metadata
            for name in fields:
                counts[name].update(_values(metadata, name))
    return {name: _most_frequent(counter) for name, counter in counts.items()}


def _values(metadata: dict[str, Any], path: str) -> set[tuple[str, Any]]:
    """The scalars of a field, each once, with their type: `True` is not 1."""
    value: Any = metadata
    for name in path.removeprefix("metadata.").split("."):
        value = value.get(name) if isinstance(value, dict) else None
    scalars = value if isinstance(value, list) else [value]
    return {(_kind(scalar), scalar) for scalar in scalars if isinstance(scalar, (str, int, float))}


def _kind(scalar: str | float) -> str:
    if isinstance(scalar, bool):
        return "boolean"
    return "text" if isinstance(scalar, str) else "number"


def _most_frequent(counter: Counter[tuple[str, Any]]) -> list[FacetValue]:
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0][0], item[0][1]))
    return [FacetValue(value, count) for (_, value), count in ordered[:FACET_VALUES_MAX]]
