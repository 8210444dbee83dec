"""From true hits to an answer: scores, documents, the page, and what was asked for beside it.

A search that looked farther, for its page was not full, brings hits in rounds. Documents of a later round come after
those of the rounds before, whatever a farther look makes of their scores: else a document would have one place on a
page that took one round and another on a page that took two, and be on both or on none.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from s4.domains.documents.metadata import scalars
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


Explain = Callable[[ScoredHit[Hit]], Explanation | None]


def answer_of(
    query: Query, mode: Mode, rounds: Sequence[Sequence[Hit]], found: dict[str, Found], *, degraded: bool
) -> Answer:
    """`mode` is how it was searched: by keyword alone when the query could not be embedded. `rounds` are of true hits,
    and their documents in `found`."""
    parsed = parse(query.text)
    highlighter = Highlighter(parsed)
    placed = list(_placed(query, mode, rounds, parsed, highlighter))
    page = placed[query.offset : query.offset + query.limit]

    def passage(chunk: ScoredHit[Hit], explain: Explain) -> Passage:
        return Passage(chunk.hit, chunk.score, highlighter.spans(chunk.hit.text), explain(chunk))

    results = [
        Result(
            found[document.document_id],
            document.score,
            [passage(chunk, explain) for chunk in document.chunks] if query.with_passages else [],
        )
        for document, explain in page
    ]
    end = query.offset + len(page)
    return Answer(
        results,
        len(placed),
        degraded,
        end if page and end < len(placed) else None,
        _facets([found[document.document_id] for document, _ in placed], query.facets),
    )


def _placed(
    query: Query, mode: Mode, rounds: Sequence[Sequence[Hit]], parsed: ParsedQuery, highlighter: Highlighter
) -> Iterator[tuple[DocumentHit[Hit], Explain]]:
    """Each document once, in order, with what explains its passages among the hits of its round."""
    known: set[str] = set()
    least = 1.0
    for hits in rounds:
        explain = _explainer(hits, parsed, highlighter) if query.explain else lambda _: None
        scored = [hit for hit in scored_by(mode, parsed, hits) if hit.score >= query.min_score]
        for document in group(scored, chunks_per_document=query.chunks_per_document):
            if document.document_id not in known:
                known.add(document.document_id)
                if document.score > least:
                    document = replace(document, score=least)
                least = document.score
                yield document, explain


def scored_by(mode: Mode, parsed: ParsedQuery, hits: Sequence[Hit]) -> list[ScoredHit[Hit]]:
    """Chunks of one round, best first."""
    scored = fitting(mode, parsed, hits)
    return liken(scored) if mode is Mode.HYBRID else scored


def fitting(mode: Mode, parsed: ParsedQuery, hits: Sequence[Hit]) -> list[ScoredHit[Hit]]:
    """The same by query and chunk alone, whatever the others are."""
    scored = fuse(hits, mode=mode, terms=len(parsed.terms))
    if mode is not Mode.SEMANTIC and parsed.exact_share > 0:
        scored = prefer(scored, exact=lambda hit: parsed.exact_in(_said(hit)), share=parsed.exact_share)
    return scored


def _said(hit: Hit) -> str:
    return f"{hit.heading}\n{hit.text}" if hit.heading else hit.text


def _explainer(hits: Sequence[Hit], parsed: ParsedQuery, highlighter: Highlighter) -> Explain:
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
    counts: dict[str, Counter[tuple[str, Any]]] = {name.removeprefix("metadata."): Counter() for name in fields}
    if fields:
        for document in documents:
            found = (each for each in scalars(document.metadata) if each[0] in counts and each[1] is not None)
            # Each value once, with its type: `True` is not 1.
            for path, kind, value in {(path, _kind(value), value) for path, value, _ in found}:
                counts[path][kind, value] += 1
    return {name: _most_frequent(counts[name.removeprefix("metadata.")]) for name in fields}


def _kind(scalar: str | float) -> str:
    if isinstance(scalar, bool):
        return "boolean"
    return "text" if isinstance(scalar, str) else "number"


def _most_frequent(counter: Counter[tuple[str, Any]]) -> list[FacetValue]:
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0][0], item[0][1]))
    return [FacetValue(value, count) for (_, value), count in ordered[:FACET_VALUES_MAX]]
