"""When a month's promise counts as kept, at risk, broken; and how a duration is read from a sketch."""

import pytest

from s4.domains.plans import ServiceLevel
from s4.domains.service_levels.model import Level, State
from s4.domains.usage.calls import class_of, plain_route
from s4.domains.usage.costs import Prices, estimate
from s4.domains.usage.export import csv_of
from s4.domains.usage.ledger import ADDED, SEARCH_BUCKETS, Grain, quantile_seconds
from s4.kernel.units import GIB
from s4.platform.telemetry.metrics import HTTP_BUCKETS_SECONDS
from tests.factories.metering import NOW

PROMISE = ServiceLevel(availability=0.99, latency_p95_ms=500)
SLOW, QUICK = SEARCH_BUCKETS[10], SEARCH_BUCKETS[2]  # up to 2.5 s, up to 25 ms


def level(
    requests: int, failures: int = 0, *, quick: int = 0, slow: int = 0, closed: bool = False, promised: bool = True
) -> Level:
    amounts = dict.fromkeys(ADDED, 0) | {"requests": requests, "failures": failures, QUICK: quick, SLOW: slow}
    return Level.of(amounts, PROMISE if promised else None, closed=closed)


@pytest.mark.parametrize(
    ("measured", "state"),
    [
        (level(0), State.MET),
        (level(1000, 7), State.MET),
        (level(1000, 8), State.AT_RISK),
        (level(1000, 10), State.AT_RISK),
        (level(1000, 11), State.BREACHED),
        (level(50, 1), State.MET),  # so early that any failure would break the promise
        (level(50, 1, closed=True), State.BREACHED),
        (level(1000, 8, closed=True), State.MET),  # it was at risk, and it was kept
        (level(1000, quick=89, slow=10), State.MET),  # too few searches to speak of a trend
        (level(1000, quick=90, slow=10), State.AT_RISK),
        (level(1000, quick=96, slow=4), State.MET),
        (level(1000, quick=8, slow=2, closed=True), State.BREACHED),
        (level(1000, 500, promised=False), State.NO_OBJECTIVE),
    ],
)
def test_a_month_is_judged_by_its_budget_and_its_searches(measured: Level, state: State) -> None:
    assert measured.state is state


def test_the_budget_is_the_share_of_requests_that_may_fail() -> None:
    measured = level(2000, 5)
    assert measured.availability == pytest.approx(0.9975)
    assert measured.failures_allowed == pytest.approx(20)
    assert measured.budget_spent == pytest.approx(0.25)
    assert level(0).budget_spent is None


def test_a_quantile_lies_in_the_bucket_that_holds_it() -> None:
    counts = [0] * (len(HTTP_BUCKETS_SECONDS) + 1)
    assert quantile_seconds(counts, 0.95) is None
    counts[3] = 100  # between 25 and 50 ms
    assert quantile_seconds(counts, 0.95) == pytest.approx(0.025 + 0.025 * 0.95)
    counts[7] = 10
    assert 0.25 < (quantile_seconds(counts, 0.95) or 0) <= 0.5
    counts[-1] = 1000
    assert quantile_seconds(counts, 0.95) == HTTP_BUCKETS_SECONDS[-1], "as Prometheus answers beyond the last bound"


@pytest.mark.parametrize(
    ("method", "template", "expected"),
    [
        ("POST", "/api/v1/search", "search"),
        ("POST", "/api/documents", "upload"),
        ("PUT", "/api/v1/documents/by-key/{key}", "upload"),
        ("GET", "/api/v1/documents/by-key/{key}", "read"),
        ("HEAD", "/api/v1/documents/{document_id}", "read"),
        ("GET", "/api/v1/documents/{document_id}/text", "read"),
        ("GET", "/api/v1/documents/{document_id}/download", "download"),
        ("PATCH", "/api/v1/documents/{document_id}/metadata", "change"),
        ("POST", "/api/v1/documents/{document_id}/reprocess", "change"),
        ("POST", "/api/v1/documents/bulk-delete", "delete"),
        ("DELETE", "/api/v1/documents/{document_id}", "delete"),
        ("GET", "/api/v1/keys", "account"),
    ],
)
def test_routes_have_classes_under_either_prefix(method: str, template: str, expected: str) -> None:
    assert class_of(method, plain_route(template)) == expected


def test_months_have_their_lengths() -> None:
    start = Grain.MONTH.floor(NOW)
    lengths = []
    for _ in range(4):
        lengths.append((Grain.MONTH.following(start) - start).days)
        start = Grain.MONTH.following(start)
    assert lengths == [30, 31, 31, 28]


def test_a_cell_that_a_spreadsheet_would_run_is_text() -> None:
    written = csv_of([{"name": "=HYPERLINK(1)", "calls": -1}, {"name": "Acme, Ltd", "calls": 2}])
    assert written.splitlines() == ["name,calls", "'=HYPERLINK(1),-1", '"Acme, Ltd",2']


def test_a_cost_is_the_sum_of_what_is_priced() -> None:
    prices = Prices(
        "EUR", 0.73, store_writes_thousand=5, store_reads_thousand=0.4, embedding_million_tokens=2, out_gib=1
    )
    amounts = dict.fromkeys(ADDED, 0) | {
        "stored_byte_hours": 1000 * GIB, "store_writes": 2000, "store_reads": 5000, "embedding_tokens_paid": 500_000,
        "embedding_tokens_cached": 9_000_000, "bytes_out": GIB // 2,
    }  # fmt: skip
    cost = estimate(amounts, prices)
    assert (cost.storage, cost.store_requests, cost.embedding, cost.traffic) == pytest.approx((1.0, 12.0, 1.0, 0.5))
    assert cost.total == pytest.approx(14.5)
