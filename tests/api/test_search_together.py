"""`POST /search/batch`: what several searches in one call answer, what they cost, and when they are refused."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.calls import assert_refused, metric, new_tenant, search, upload_ready
from tests.api.test_rate_limits import on_plan
from tests.api.test_usage import eventually, usage
from tests.factories.deployment import Deployment

QUERIES: list[dict[str, Any]] = [
    {"query": "tides", "mode": "semantic", "limit": 1},
    {"query": "harbour", "mode": "keyword", "facets": ["year"]},
    {"query": "tides harbour", "padding": 1, "include_metadata": False},
    {"query": "nothing of it", "mode": "keyword", "filters": {"field": "year", "op": "gt", "value": 2024}},
]


@pytest.fixture(scope="module")
def shelf(deployment: Deployment) -> Iterator[httpx.Client]:
    with new_tenant(deployment, "Shelf") as tenant:
        upload_ready(tenant, "Tides follow the moon.", key="tides", metadata={"year": 2024})
        upload_ready(tenant, "The harbour sleeps at low tide.", key="harbour", metadata={"year": 2025})
        yield tenant


def together(tenant: httpx.Client, *queries: dict[str, Any]) -> httpx.Response:
    return tenant.post("/search/batch", json={"queries": list(queries)})


def without_time(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["execution_time_ms"] > 0
    return {name: value for name, value in answer.items() if name != "execution_time_ms"}


def test_each_query_is_answered_as_it_is_alone_and_in_order(shelf: httpx.Client) -> None:
    answer = together(shelf, *QUERIES)
    assert answer.status_code == 200, answer.text
    alone = [without_time(search(shelf, **query)) for query in QUERIES]
    assert [without_time(each) for each in answer.json()["answers"]] == alone
    assert [len(each["results"]) for each in alone] == [1, 1, 2, 0]


def test_queries_of_a_call_are_embedded_once_each(shelf: httpx.Client, deployment: Deployment) -> None:
    def embedded() -> float:
        return metric(deployment, "s4_embedding_texts_total", provider="deterministic", use="queries")

    before = embedded()
    together(shelf, {"query": "spring flood"}, {"query": "ebb"}, {"query": "spring flood", "limit": 1})
    assert embedded() - before == 2
    search(shelf, "ebb")
    assert embedded() - before == 2, "the same words of the same tenant, asked alone"


@pytest.mark.parametrize("queries", [[], [{"query": "x"}] * 21, [{"query": "x"}, {"query": " "}], [{"limit": 1}]])
def test_none_too_many_or_an_empty_query_is_refused(shelf: httpx.Client, queries: list[dict[str, Any]]) -> None:
    assert_refused(together(shelf, *queries), 422, "invalid_request")


def test_a_query_that_makes_no_sense_is_named_and_none_is_answered(shelf: httpx.Client) -> None:
    wrong = {"query": "tides", "filters": {"field": "year", "op": "near", "value": 1}}
    error = assert_refused(together(shelf, {"query": "tides"}, wrong), 400, "invalid_request")
    assert error["message"].startswith("queries[1]: ")
    assert error["details"]["query"] == 1


def test_together_they_may_ask_for_as_much_as_one_may(shelf: httpx.Client) -> None:
    most = {"query": "tides", "limit": 100, "chunks_per_document": 50}
    assert together(shelf, most).status_code == 200
    assert_refused(together(shelf, most, {"query": "tides", "limit": 1}), 400, "invalid_request")
    neighbours = {"query": "tides", "limit": 50, "chunks_per_document": 1, "padding": 10}
    assert together(shelf, neighbours, neighbours).status_code == 200
    assert_refused(together(shelf, neighbours, neighbours, neighbours), 400, "invalid_request")


# -- what it costs


def test_each_query_counts_for_the_rate_all_or_none(deployment: Deployment, admin: httpx.Client) -> None:
    tides = {"query": "tides"}
    with on_plan(admin, deployment, requests_per_second=0.01, burst=6) as limited:
        answer = together(limited, tides, tides, tides)
        assert (answer.status_code, answer.headers["X-Rate-Limit-Remaining"]) == (200, "3")
        error = assert_refused(together(limited, *[tides] * 7), 400, "invalid_request")
        assert (error["details"]["requests"], error["details"]["burst"]) == (7, 6), "waiting would never help"
        refused = together(limited, tides, tides, tides)
        assert_refused(refused, 429, "rate_limited")
        assert refused.headers["X-Rate-Limit-Remaining"] == "1", "each attempt costs its own request and no more"
        assert 100 < int(refused.headers["Retry-After"]) <= 200, "until three are there, of which one is"
        assert limited.post("/search", json=tides).status_code == 200


def test_each_query_counts_for_the_month_all_or_none(deployment: Deployment, admin: httpx.Client) -> None:
    tides = {"query": "tides"}
    with on_plan(admin, deployment, api_calls_limit=7) as limited:
        assert together(limited, *[tides] * 4).status_code == 200
        error = assert_refused(together(limited, *[tides] * 4), 403, "quota_exceeded")
        assert "fewer than" in error["message"]
        assert together(limited, *[tides] * 2).status_code == 200, "what was refused was not counted"
        assert limited.post("/search", json=tides).status_code == 200
        assert_refused(together(limited, tides), 403, "quota_exceeded")


def test_the_ledger_counts_each_query_as_a_search_and_a_refusal_as_one_call(deployment: Deployment) -> None:
    with new_tenant(deployment, "Counted") as tenant:
        assert together(tenant, *[{"query": "tides"}] * 5).status_code == 200
        assert together(tenant, {"query": "tides"}, {"query": "x", "filters": {"no": 1}}).status_code == 400
        used = eventually(lambda: usage(tenant)["totals"], lambda totals: totals["requests"] >= 2)
        assert (used["calls"], used["searches"], used["calls_by_class"]["search"]) == (6, 6, 6)
