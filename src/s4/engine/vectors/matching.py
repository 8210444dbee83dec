"""What keyword search asks a table for, by the table's form (see `schema`)."""

from typing import Any

from s4.engine.analysis import QUERY_CHARS_MAX, TERMS_MAX, parse
from s4.engine.vectors.schema import TERMS_COLUMN, LanceTable

UNSURE_BOOST = 0.5
"""Of terms in other languages, for a query that does not tell its own. Where few documents are in another language,
their terms are rare, and BM25 would put them before all others."""


async def keyword_query(table: LanceTable, text: str) -> Any | None:
    """A query of LanceDB's; None where the text holds no word.

    Phrases add to the score of the words that they consist of: so passages that have one come among the candidates.
    """
    from lancedb.query import BooleanQuery, MatchQuery, Occur, PhraseQuery

    match: Any = MatchQuery  # pydantic dataclasses, whose defaults the type checker does not see
    if TERMS_COLUMN not in (await table.schema()).names:
        words = keyword_text(text)
        return match(words, "text") if words else None
    parsed = parse(text)
    if not parsed.terms:
        return None
    parts = [match(" ".join(term.plain for term in parsed.terms for _ in range(term.times)), TERMS_COLUMN)]
    if foreign := sorted(frozenset().union(*(term.foreign for term in parsed.terms))):
        boost = 1.0 if parsed.language else UNSURE_BOOST
        parts.append(match(" ".join(foreign), TERMS_COLUMN, boost=boost))
    phrase: Any = PhraseQuery
    parts += [phrase(run, TERMS_COLUMN) for run in parsed.phrase_forms]
    return BooleanQuery([(Occur.SHOULD, part) for part in parts]) if len(parts) > 1 else parts[0]


def keyword_text(text: str) -> str:
    """The part of a query that a table of an earlier release looks up, free of characters that UTF-8 cannot carry."""
    clean = text[:QUERY_CHARS_MAX].encode("utf-8", "replace").decode("utf-8")
    return " ".join(clean.split()[:TERMS_MAX])
