"""Use as tenants and administrators see it: the fields of the contract, both formats, bounds that say what to do."""

import csv
import io
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.calls import assert_refused, search, upload_ready
from tests.factories.deployment import Deployment

EVENTUALLY_SECONDS_MAX = 60
NO_TENANT = "ten_" + "a" * 26
SLO = {"availability": 0.99, "latency_p95_ms": 60_000}


def eventually(ask: Callable[[], dict[str, Any]], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The answer as soon as it is as wanted: a process's notes go into the ledger a moment later."""
    give_up_at = time.monotonic() + EVENTUALLY_SECONDS_MAX
    while not wanted(answer := ask()):
        assert time.monotonic() < give_up_at, answer
    return answer


def usage(caller: httpx.Client, **asked: str) -> dict[str, Any]:
    answer = caller.get("/usage", params=asked)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def table(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.fixture
def used(tenant: httpx.Client) -> httpx.Client:
    """A tenant that has uploaded a document, downloaded and deleted another, searched twice, and met a 404."""
    upload_ready(tenant, "Tides follow the moon.", filename="tides.txt")
    doomed = upload_ready(tenant, "Tides follow the moon.", filename="same.txt")["document_id"]
    tenant.get(f"/documents/{doomed}/download")
    tenant.delete(f"/documents/{doomed}")
    tenant.get(f"/documents/{doomed}")
    search(tenant, "tides")
    search(tenant, "moon")
    eventually(
        lambda: usage(tenant)["totals"], lambda totals: totals["calls"] >= 9 and totals["documents_deleted"] == 1
    )
    return tenant


def test_a_tenant_sees_what_it_used(used: httpx.Client) -> None:
    answer = usage(used, granularity="hour")
    totals = answer["totals"]
    classes = totals["calls_by_class"]
    assert totals["calls"] == sum(classes.values()) == 9
    assert (classes["search"], classes["upload"], classes["download"], classes["delete"]) == (2, 2, 1, 1)
    assert classes["read"] == 3, "two waits and a 404: a call, too"
    assert totals["searches"] == 2
    assert (totals["documents"], totals["documents_uploaded"], totals["documents_deleted"]) == (1, 2, 1)
    assert totals["bytes_stored"] == len("Tides follow the moon.")
    assert totals["chunks"] == 2
    assert 0 < totals["embedding_tokens_paid"] == totals["embedding_tokens_cached"], "the same text was paid once"
    assert totals["embedding_tokens"] == 2 * totals["embedding_tokens_paid"]
    assert totals["bytes_in"] > 0 < totals["bytes_out"]
    assert totals["store_writes"] >= 5, "contents, heads, text, vectors"
    assert totals["store_bytes_read"] > 0
    cost = totals["cost_estimate"]
    assert cost["currency"] == "USD"
    assert cost["total"] == pytest.approx(sum(cost[p] for p in ("storage", "store_requests", "embedding", "traffic")))
    assert cost["store_requests"] > 0


def test_a_series_has_every_hour_day_or_month_and_adds_up(used: httpx.Client) -> None:
    now = datetime.now(UTC)
    since = (now - timedelta(days=2)).isoformat()
    for granularity, least in (("hour", 48), ("day", 3), ("month", 1)):
        answer = usage(used, granularity=granularity, **{"from": since})
        assert len(answer["series"]) >= least
        assert sum(each["calls"] for each in answer["series"]) == answer["totals"]["calls"] >= 9
        starts = [each["start"] for each in answer["series"]]
        assert starts == sorted(set(starts))
        assert answer["from"] <= since.replace("+00:00", "Z")


def test_use_comes_as_csv_to_who_asks_for_it(used: httpx.Client) -> None:
    for asked in ({"headers": {"Accept": "text/csv"}}, {"params": {"format": "csv"}}):
        rows = table(used.get("/usage", **asked))  # type: ignore[arg-type]
        assert sum(int(row["calls_search"]) for row in rows) == 2
        assert sum(float(row["cost_total"]) for row in rows) > 0
    assert used.get("/usage", params={"format": "json"}, headers={"Accept": "text/csv"}).json()["totals"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"from": "2026-01-01", "to": "2026-03-01", "granularity": "hour"}, "at most 32 days.*granularity=day"),
        ({"from": "2020-01-01", "to": "2026-01-01"}, "at most 400 days.*granularity=month"),
        ({"from": "1900-01-01", "to": "2026-01-01", "granularity": "month"}, "at most 3700 days"),
        ({"from": "2026-02-02", "to": "2026-02-01"}, "`from` must lie before `to`"),
        ({"from": "9999-12-31T23:59:00Z", "to": "9999-12-31T23:59:30Z", "granularity": "month"}, "calendar"),
    ],
)
def test_a_span_that_is_too_long_is_refused_with_what_to_ask_instead(
    reader: httpx.Client, asked: dict[str, str], said: str
) -> None:
    error = assert_refused(reader.get("/usage", params=asked), 400, "invalid_request")
    assert re.search(said, error["message"])


def test_looking_at_use_is_free(idle_tenant: httpx.Client) -> None:
    for _ in range(5):
        usage(idle_tenant)
    answer = eventually(lambda: usage(idle_tenant)["totals"], lambda totals: totals["requests"] >= 5)
    assert answer["calls"] == 0


def test_the_administrator_sees_of_a_tenant_what_it_sees_itself(used: httpx.Client, admin: httpx.Client) -> None:
    own = usage(used)
    answer = admin.get(f"/admin/tenants/{own['tenant_id']}/usage").json()
    assert answer["totals"]["calls"] == own["totals"]["calls"]
    assert [each["start"] for each in answer["series"]] == [each["start"] for each in own["series"]]
    assert_refused(admin.get(f"/admin/tenants/{NO_TENANT}/usage"), 404, "not_found")


def test_system_analytics_have_the_fields_of_the_contract(used: httpx.Client, admin: httpx.Client) -> None:
    mine = usage(used)["totals"]
    for period in ("day", "week", "month"):
        answer = admin.get("/admin/analytics/system", params={"period": period}).json()
        assert set(answer) >= {
            "period", "start_date", "end_date", "total_api_calls", "total_storage_used", "total_documents",
            "active_tenants", "new_tenants", "hourly_breakdown",
        }  # fmt: skip
        assert answer["total_api_calls"] >= mine["calls"]
        assert answer["total_storage_used"] >= mine["bytes_stored"]
        assert answer["active_tenants"] >= 1 <= answer["new_tenants"]
        hours = answer["hourly_breakdown"]
        assert set(hours[-1]) == {"hour", "api_calls", "document_uploads"}
        assert sum(hour["api_calls"] for hour in hours) == answer["total_api_calls"]
        assert sum(hour["document_uploads"] for hour in hours) >= 2
    today = datetime.now(UTC).date().isoformat()
    one_day = admin.get("/admin/analytics/system", params={"start_date": today, "end_date": today, "format": "csv"})
    assert list(table(one_day)[0]) == ["hour", "api_calls", "document_uploads"]
    assert_refused(admin.get("/admin/analytics/system", params={"start_date": "2026-01-01"}), 400, "invalid_request")


def test_the_tenants_that_use_the_most_come_first_with_their_part(used: httpx.Client, admin: httpx.Client) -> None:
    own = usage(used)
    answer = admin.get("/admin/analytics/tenants", params={"period": "day", "limit": 1000}).json()
    for name, amount in (("top_tenants_by_api_calls", "api_calls"), ("top_tenants_by_storage", "storage_used")):
        shares = answer[name]
        amounts = [share[amount] for share in shares]
        assert amounts == sorted(amounts, reverse=True)
        parts = [share["percent_of_total"] for share in shares]
        assert 0 < sum(parts) <= 100 + 0.01 * len(shares), "the rest was used by tenants that are gone"
        assert parts == pytest.approx([part * parts[0] / amounts[0] for part in amounts], abs=0.02)
        assert {share["name"] for share in shares if share["tenant_id"] == own["tenant_id"]} == {"Acme"}
    rows = table(admin.get("/admin/analytics/tenants", params={"sort_by": "storage", "format": "csv", "limit": 1}))
    assert list(rows[0]) == ["tenant_id", "name", "storage_used", "percent_of_total"]


def test_endpoints_are_told_by_template_and_hour_and_tenant(used: httpx.Client, admin: httpx.Client) -> None:
    tenant_id = usage(used)["tenant_id"]
    answer = admin.get("/admin/analytics/endpoints", params={"tenant_id": tenant_id}).json()
    found = {(each["method"], each["route"]): each for each in answer["endpoints"]}
    assert found["POST", "/search"]["requests"] == 2
    assert found["POST", "/documents"]["requests"] == 2
    document = found["GET", "/documents/{document_id}"]
    assert (document["requests"], document["refusals"], document["failures"]) == (3, 1, 0)
    assert sum(hour["requests"] for hour in document["hourly_breakdown"]) == 3
    everybody = admin.get("/admin/analytics/endpoints", params={"limit": 1000}).json()["endpoints"]
    assert not [each for each in everybody if "doc_" in each["route"]], "raw paths never become names"
    assert_refused(admin.get("/admin/analytics/endpoints", params={"tenant_id": NO_TENANT}), 404, "not_found")


# -- service levels


def prometheus_search_buckets(deployment: Deployment) -> dict[float, int]:
    """Answered searches by upper bound, cumulated, as the server exposes them."""
    name = "s4_http_request_duration_seconds_bucket"
    found: dict[float, int] = {}
    for line in httpx.get(f"{deployment.url}/metrics", timeout=60).text.splitlines():
        if line.startswith(name) and 'route="/api/v1/search"' in line:
            bound = line.partition('le="')[2].partition('"')[0]
            found[float(bound)] = int(float(line.rsplit(" ", 1)[1]))
    return found


def test_the_ledgers_p95_is_in_the_bucket_of_prometheus(
    deployment: Deployment, tenant: httpx.Client, admin: httpx.Client
) -> None:
    tenant_id = usage(tenant)["tenant_id"]
    before = prometheus_search_buckets(deployment)
    for number in range(40):
        search(tenant, f"tides {number}")
    eventually(lambda: usage(tenant)["totals"], lambda totals: totals["searches"] >= 40)
    after = prometheus_search_buckets(deployment)
    counts = {bound: count - before.get(bound, 0) for bound, count in after.items()}
    bounds = sorted(counts)
    upper = next(bound for bound in bounds if counts[bound] >= 0.95 * counts[bounds[-1]])
    lower = max((bound for bound in bounds if bound < upper), default=0.0)

    (level,) = admin.get("/admin/sla", params={"tenant_id": tenant_id}).json()["tenants"]

    assert counts[bounds[-1]] == level["searches"] == 40
    assert lower <= level["search_p95_ms"] / 1000 <= upper


def test_a_months_service_level_is_told_by_plan_and_tenant_and_as_a_report(
    used: httpx.Client, admin: httpx.Client
) -> None:
    tenant_id = usage(used)["tenant_id"]
    answer = admin.get("/admin/sla", params={"tenant_id": tenant_id}).json()
    (level,) = answer["tenants"]
    assert (level["state"], level["availability"], level["failures"], level["searches"]) == ("no_objective", 1.0, 0, 2)
    (plan,) = answer["plans"]
    assert plan["plan_id"] == level["plan_id"] == "local"
    assert plan["requests"] >= level["requests"]
    everybody = admin.get("/admin/sla", params={"limit": 1}).json()
    assert len(everybody["tenants"]) == 1
    assert sum(each["tenants"] for each in everybody["plans"]) >= 1
    assert answer["month"] == f"{datetime.now(UTC):%Y-%m}"

    report = admin.get("/admin/sla/report", params={"tenant_id": tenant_id})
    assert sum(day["requests"] for day in report.json()["days"]) == report.json()["tenant"]["requests"]
    page = admin.get("/admin/sla/report", params={"tenant_id": tenant_id}, headers={"Accept": "text/markdown"})
    assert page.headers["content-type"].startswith("text/markdown")
    assert page.text.startswith("# Service level of ")
    assert tenant_id in page.text
    past = admin.get("/admin/sla", params={"tenant_id": tenant_id, "month": "2020-02"}).json()
    assert (past["closed"], past["tenants"][0]["requests"]) == (True, 0)
    assert_refused(admin.get("/admin/sla", params={"month": "2026-13"}), 400, "invalid_request")
    assert_refused(admin.get("/admin/sla/report", params={"tenant_id": NO_TENANT}), 404, "not_found")
