"""Two generations of a tenant's index side by side: the same questions, and how much their answers have in common.

Overlap@k is the share of the first k documents that both answers have. Of those, Kendall's tau says whether they come
in the same order: 1 in the very same, -1 in the reverse. M. G. Kendall, "A New Measure of Rank Correlation", 1938.
Neither says which is better; that is for whoever reads them side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from s4.domains.search.model import Answer, Query
from s4.domains.search.service import SearchService
from s4.engine.ranking import Mode
from s4.kernel.context import TenantContext
from s4.kernel.ids import GenerationId

DEPTH = 10


@dataclass(frozen=True, slots=True)
class Placed:
    """A document in an answer."""

    document_id: str
    name: str
    score: float


@dataclass(frozen=True, slots=True)
class Compared:
    """One question. `tau` is None where the answers share fewer than two documents."""

    query: str
    ones: Sequence[Placed]
    others: Sequence[Placed]
    overlap: float
    tau: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of them."""

    compared: Sequence[Compared]
    overlap: float
    tau: float | None
    same_first: float
    """The share of questions whose first documents are the same."""


async def compare(
    search: SearchService,
    context: TenantContext,
    queries: Sequence[str],
    one: GenerationId,
    other: GenerationId,
    *,
    mode: Mode = Mode.HYBRID,
) -> Comparison:
    """Asks both, one question after the other, so that who searches meanwhile hardly notices. Raises as `search`."""
    compared = []
    for text in queries:
        query = Query(text, mode=mode, limit=DEPTH, chunks_per_document=1)
        ones, others = [_placed(await search.search_in(context, query, generation)) for generation in (one, other)]
        first, second = [each.document_id for each in ones], [each.document_id for each in others]
        compared.append(Compared(text, ones, others, overlap(first, second), kendall_tau(first, second)))
    return summed_up(compared)


def summed_up(compared: Sequence[Compared]) -> Comparison:
    """Means over the questions; of tau, over those that have one."""
    taus = [each.tau for each in compared if each.tau is not None]
    first = [_first(each.ones) == _first(each.others) for each in compared]
    count = max(1, len(compared))
    return Comparison(
        compared,
        sum(each.overlap for each in compared) / count,
        sum(taus) / len(taus) if taus else None,
        sum(first) / count,
    )


def overlap(ones: Sequence[str], others: Sequence[str]) -> float:
    """0 to 1, by the longer answer; 1 when neither found anything."""
    longer = max(len(ones), len(others))
    return len({*ones} & {*others}) / longer if longer else 1.0


def kendall_tau(ones: Sequence[str], others: Sequence[str]) -> float | None:
    """-1 to 1, of what both have; None for fewer than two."""
    place = {document: number for number, document in enumerate(others)}
    pairs = list(combinations([place[document] for document in ones if document in place], 2))
    return sum(1 if before < after else -1 for before, after in pairs) / len(pairs) if pairs else None


def _first(placed: Sequence[Placed]) -> str | None:
    return placed[0].document_id if placed else None


def _placed(answer: Answer) -> list[Placed]:
    return [
        Placed(each.document.document_id, each.document.key or each.document.filename, each.score)
        for each in answer.results
    ]
