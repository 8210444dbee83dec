"""The Cranfield 1400 collection: reading it, and the measures that its judgements allow.

Three files: `cran.all.1400` holds abstracts as records (`.I` id, `.T` title, `.A` author, `.B` bibliography, `.W`
text), `cran.qry` queries in the same form, `cranqrel` lines of `query document grade`. Judgements number the queries by
position, not by `.I`. Grade 1 is the best and 4 the weakest relevant one; the rest is not relevant.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GAINS = {1: 4, 2: 3, 3: 2, 4: 1}
"""Of a grade, for nDCG."""
_FIELD = re.compile(r"^\.([TABW])\s*$")


@dataclass(frozen=True, slots=True)
class Collection:
    """`documents`: text by id. `queries`: in order. `gains`: by number of the query, counted from 1, then by id."""

    documents: dict[str, str]
    queries: list[str]
    gains: dict[int, dict[str, int]]

    @property
    def blank(self) -> set[str]:
        """Ids of documents without a word."""
        return {document_id for document_id, text in self.documents.items() if not text.strip()}


def read_collection(folder: Path) -> Collection:
    """Raises `OSError` when a file is missing, `ValueError` when one is not in the form above."""
    documents = {
        record_id: f"{fields.get('T', '')}\n{fields.get('W', '')}"
        for record_id, fields in _records((folder / "cran.all.1400").read_text())
    }
    queries = [" ".join(fields["W"].split()) for _, fields in _records((folder / "cran.qry").read_text())]
    gains: dict[int, dict[str, int]] = {}
    for line in (folder / "cranqrel").read_text().splitlines():
        if not line.strip():
            continue
        number, document_id, grade = (int(part) for part in line.split()[:3])
        if gain := GAINS.get(grade, 0):
            of_query = gains.setdefault(number, {})
            of_query[str(document_id)] = max(gain, of_query.get(str(document_id), 0))
    return Collection(documents, queries, gains)


def _records(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    for record in re.split(r"^\.I ", text, flags=re.MULTILINE)[1:]:
        record_id, *lines = record.splitlines()
        fields: dict[str, list[str]] = {}
        name = ""
        for line in lines:
            if match := _FIELD.match(line):
                name = match[1]
                fields.setdefault(name, [])
            else:
                fields[name].append(line)
        yield str(int(record_id)), {name: "\n".join(part) for name, part in fields.items()}


def ndcg(ranking: Sequence[str], gains: Mapping[str, int], *, at: int) -> float:
    """Discounted cumulative gain of the first `at`, over that of the best ranking that there is. 0..1."""
    best = sorted(gains.values(), reverse=True)
    return _dcg([gains.get(document_id, 0) for document_id in ranking[:at]]) / _dcg(best[:at])


def recall(ranking: Sequence[str], gains: Mapping[str, int], *, at: int) -> float:
    """The part of the relevant documents that is among the first `at`. 0..1."""
    return len(set(ranking[:at]) & set(gains)) / len(gains)


def _dcg(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains))
