"""Ids spread evenly, so that the keys made from them load no part of a bucket more than another.

Pearson's chi-square over the characters that a store would cut its ranges at, with seeds, so that the answer is always
the same. Even ids exceed the bounds once in ten thousand seeds; ids that count up, or that begin with a time, exceed
them a thousandfold.
"""

from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from s4.kernel import ids, keys
from s4.kernel.ids import RandomBytes
from tests.factories.catalog import seeded

COUNT = 10_000
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
CHI_SQUARE_MAX = {1: 69.0, 2: 1198.0}
"""By how many characters are looked at: the 0.9999 quantile for 31 and 1,023 degrees of freedom."""


def chi_square(bodies: Iterable[str], width: int) -> float:
    """How far the first `width` characters are from even."""
    seen = Counter(body[:width] for body in bodies)
    assert all(set(start) <= set(ALPHABET) for start in seen)
    cells = len(ALPHABET) ** width
    expected = COUNT / cells
    return sum((count - expected) ** 2 / expected for count in seen.values()) + (cells - len(seen)) * expected


def by_key(random: RandomBytes) -> Callable[[], str]:
    """Documents of one tenant that names them one after the other, as people do."""
    tenant = ids.new_tenant_id(random)
    numbers = iter(range(COUNT))
    return lambda: ids.document_id_for_key(tenant, f"reports/2026/{next(numbers):05}.pdf")


MINTS: dict[str, Callable[[RandomBytes], Callable[[], str]]] = {
    "tenant": lambda random: lambda: ids.new_tenant_id(random),
    "document": lambda random: lambda: ids.new_document_id(random),
    "document by key": by_key,
    "version": lambda random: lambda: ids.new_version_id(random),
}


@pytest.mark.parametrize("kind", MINTS)
def test_ten_thousand_ids_spread_evenly_over_their_first_characters(kind: str) -> None:
    mint = MINTS[kind](seeded(2026))
    minted = [mint() for _ in range(COUNT)]
    assert len(set(minted)) == COUNT
    for width, bound in CHI_SQUARE_MAX.items():
        assert chi_square((name.partition("_")[2] for name in minted), width) < bound


def test_ids_that_count_up_would_be_noticed() -> None:
    counted = (ids.base32(number.to_bytes(16, "big")) for number in range(COUNT))
    assert chi_square(counted, 1) > 1000 * CHI_SQUARE_MAX[1]


def test_the_first_characters_of_an_id_are_where_the_keys_of_a_kind_differ() -> None:
    """No counter, date or shared word stands between the kind and the id."""
    tenant = ids.new_tenant_id(seeded(1))
    document = ids.new_document_id(seeded(2))
    version = ids.new_version_id(seeded(3))
    assert keys.content(tenant, document, version) == f"tenants/{tenant}/documents/{document}/{version}/content"
