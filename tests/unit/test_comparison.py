"""How much two answers have in common, by hand-made answers."""

import pytest

from s4.domains.search.comparison import Compared, Placed, kendall_tau, overlap, summed_up


@pytest.mark.parametrize(
    ("ones", "others", "shared", "tau"),
    [
        ("abcd", "abcd", 1.0, 1.0),
        ("abcd", "dcba", 1.0, -1.0),
        ("abc", "acb", 1.0, 1 / 3),
        ("abcd", "axyb", 0.5, 1.0),
        ("abcd", "ab", 0.5, 1.0),
        ("ab", "cd", 0.0, None),
        ("ab", "bc", 0.5, None),
        ("", "", 1.0, None),
        ("a", "", 0.0, None),
    ],
)
def test_overlap_and_order_of_two_answers(ones: str, others: str, shared: float, tau: float | None) -> None:
    assert overlap([*ones], [*others]) == shared
    assert kendall_tau([*ones], [*others]) == (pytest.approx(tau) if tau is not None else None)


def test_the_sum_is_the_mean_and_leaves_out_what_has_no_order() -> None:
    def compared(ones: str, others: str, shared: float, tau: float | None) -> Compared:
        return Compared("?", *([Placed(each, each, 1.0) for each in side] for side in (ones, others)), shared, tau)

    found = summed_up([compared("ab", "ab", 1.0, 1.0), compared("ab", "ba", 1.0, -1.0), compared("a", "c", 0.0, None)])
    assert (found.overlap, found.tau, found.same_first) == (pytest.approx(2 / 3), 0.0, pytest.approx(1 / 3))
