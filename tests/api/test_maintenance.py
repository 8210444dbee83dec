"""Maintenance windows, read-only mode, incidents and the public status, over HTTP."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.calls import assert_refused, client, put, search, upload_ready
from tests.factories.deployment import Deployment

HEADER = "X-S4-Maintenance"
NOBODY = "win_" + "a" * 26


def until(condition: Callable[[], Any]) -> Any:
    """What `condition` answers once that is true: a board is seconds behind at most."""
    give_up_at = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
    return found


def times(starts_in_seconds: float = 0, length_seconds: float = 3600) -> dict[str, str]:
    starts_at = datetime.now(UTC) + timedelta(seconds=starts_in_seconds)
    ends_at = starts_at + timedelta(seconds=length_seconds)
    return {"starts_at": starts_at.isoformat(), "ends_at": ends_at.isoformat()}


@contextmanager
def window(admin: httpx.Client, **body: Any) -> Iterator[dict[str, Any]]:
    """From here to the end of the block, at most."""
    answer = admin.post("/admin/maintenance-windows", json=body)
    assert answer.status_code == 201, answer.text
    yield answer.json()
    admin.delete(f"/admin/maintenance-windows/{answer.json()['id']}")


@pytest.fixture
def known(admin: httpx.Client, deployment: Deployment) -> Iterator[tuple[str, httpx.Client]]:
    """A tenant's id and its caller."""
    created = admin.post("/admin/tenants", json={"name": "Maintained"}).json()
    with client(deployment, **{"X-Tenant-Key": created["api_key"]}) as caller:
        yield created["id"], caller


def test_while_s4_is_read_only_writes_wait_and_reading_and_searching_go_on(
    admin: httpx.Client, known: tuple[str, httpx.Client], tenant: httpx.Client
) -> None:
    tenant_id, caller = known
    document_id = upload_ready(caller, "Tides follow the moon.", key="tides")["document_id"]
    path = f"/documents/{document_id}"
    with window(admin, **times(), mode="read_only", message="New disks", tenants=[tenant_id]) as scheduled:
        begins = datetime.fromisoformat(scheduled["starts_at"]).replace(microsecond=0)

        def told() -> str:
            """Of this window; the one before it may still be announced for a moment."""
            said = caller.get(path).headers.get(HEADER, "")
            return said if said and datetime.fromisoformat(said.partition("/")[0]) == begins else ""

        header = until(told)
        rest = header.partition("/")[2]
        assert rest.endswith("Z; mode=read_only")
        for refused in (
            caller.post("/documents", files={"file": ("a.txt", b"a", "text/plain")}),
            put(caller, "tides", "other"),
            caller.patch(f"{path}/metadata", json={"year": 2026}),
            caller.post(f"{path}/reprocess"),
            caller.post("/documents/bulk-delete", json={"document_ids": [document_id]}),
            caller.delete(path),
        ):
            error = assert_refused(refused, 503, "service_unavailable")
            assert 0 < int(refused.headers["Retry-After"]) <= 3600
            assert error["details"]["maintenance"]["message"] == "New disks"
            assert refused.headers[HEADER] == header
        assert search(caller, "tides")["total_results"] == 1
        assert caller.get(f"{path}/download").text == "Tides follow the moon."
        assert HEADER not in tenant.get("/documents").headers, "others hear nothing"
        assert put(tenant, "mine", "mine").status_code == 201
        assert admin.post("/admin/tenants", json={"name": "Operators go on"}).status_code == 201
    until(lambda: HEADER not in caller.get(path).headers)
    assert caller.delete(path).status_code == 204


def test_a_window_ends_by_itself(admin: httpx.Client, known: tuple[str, httpx.Client]) -> None:
    tenant_id, caller = known
    said = {"mode": "read_only", "tenants": [tenant_id]}
    with window(admin, **times(), **said) as scheduled:
        until(lambda: put(caller, "k", "x").status_code == 503)
        soon = admin.put(f"/admin/maintenance-windows/{scheduled['id']}", json=times(0, 5) | said)
        assert soon.status_code == 200, soon.text
        until(lambda: put(caller, "k", "x").status_code in (200, 201))
        listed = {each["id"]: each for each in admin.get("/admin/maintenance-windows?past=true").json()["windows"]}
        assert listed[scheduled["id"]]["state"] == "over"
        assert_refused(admin.delete(f"/admin/maintenance-windows/{scheduled['id']}"), 409, "conflict")


def test_a_window_is_announced_from_its_lead_time_on(admin: httpx.Client, known: tuple[str, httpx.Client]) -> None:
    tenant_id, caller = known
    with (
        window(admin, **times(7200), tenants=[tenant_id], lead_seconds=60) as later,
        window(admin, **times(7200), tenants=[tenant_id], lead_seconds=7300) as soon,
    ):
        header = until(lambda: caller.get("/documents").headers.get(HEADER))
        assert "," not in header
        changed = admin.put(
            f"/admin/maintenance-windows/{later['id']}",
            json=times(3600) | {"tenants": [tenant_id], "mode": "read_only"},
        )
        assert changed.status_code == 200, changed.text
        until(lambda: "," in caller.get("/documents").headers.get(HEADER, ""))
        both = caller.get("/documents").headers[HEADER]
        assert [part.partition("mode=")[2] for part in both.split(", ")] == ["read_only", "announce"]
        states = {each["id"]: each["state"] for each in admin.get("/admin/maintenance-windows").json()["windows"]}
        assert states[soon["id"]] == states[later["id"]] == "scheduled"
        assert put(caller, "k", "x").status_code == 201, "it has not begun"


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 422), (times() | {"mode": "off"}, 422), (times(0, -1), 400), (times(-10, 5), 400),
     (times() | {"tenants": []}, 422), (times() | {"tenants": ["ten_" + "a" * 26]}, 400),
     (times() | {"lead_seconds": -1}, 422), (times() | {"starts_at": "2026-01-01T00:00:00"}, 422),
     (times() | {"starts_at": 0}, 422), (times() | {"hue": 1}, 422)],
)  # fmt: skip
def test_odd_windows_are_refused(admin: httpx.Client, body: dict[str, Any], status: int) -> None:
    assert_refused(admin.post("/admin/maintenance-windows", json=body), status, "invalid_request")
    assert_refused(admin.put(f"/admin/maintenance-windows/{NOBODY}", json=times()), 404, "not_found")


def status(deployment: Deployment) -> dict[str, Any]:
    answer = httpx.get(f"{deployment.url}/status", timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"].startswith("public, max-age=")
    return dict(answer.json())


def test_an_incident_stands_on_the_public_status_page_and_takes_its_course(
    deployment: Deployment, admin: httpx.Client
) -> None:
    title = f"Searches are slow {secrets.token_hex(4)}"
    opened = admin.post("/admin/incidents", json={"title": title, "impact": "major"}).json()

    def shown() -> dict[str, Any] | None:
        return next((each for each in status(deployment)["incidents"] if each["id"] == opened["id"]), None)

    incident = until(shown)
    assert (incident["title"], incident["state"], incident["impact"]) == (title, "investigating", "major")
    assert title in incident["updates"][0]["message"]
    assert status(deployment)["status"] == "degraded"
    updates = f"/admin/incidents/{opened['id']}/updates"
    assert admin.post(updates, json={"state": "identified", "message": "A disk."}).status_code == 201
    admin.post(updates, json={"state": "resolved"})
    until(lambda: (shown() or {}).get("state") == "resolved")
    resolved = shown()
    assert resolved is not None
    assert [each["state"] for each in resolved["updates"]] == ["investigating", "identified", "resolved"]
    assert status(deployment)["status"] in ("operational", "maintenance")
    assert title in [each["title"] for each in admin.get("/admin/incidents").json()["incidents"]]
    missing = f"/admin/incidents/{'inc_' + 'a' * 26}/updates"
    assert_refused(admin.post(missing, json={"state": "resolved"}), 404, "not_found")
    assert_refused(admin.post(updates, json={"state": "forgotten"}), 422, "invalid_request")


def test_the_status_page_shows_windows_for_all_and_none_of_a_tenants(
    deployment: Deployment, admin: httpx.Client, known: tuple[str, httpx.Client]
) -> None:
    tenant_id, _ = known
    with (
        window(admin, **times(), message="of one", tenants=[tenant_id]) as theirs,
        window(admin, **times(), message="for all") as for_all,
    ):
        shown = until(
            lambda: for_all["id"] in (ids := [each["id"] for each in status(deployment)["maintenance"]]) and ids
        )
        assert theirs["id"] not in shown
        assert status(deployment)["status"] == "maintenance"
        assert tenant_id not in httpx.get(f"{deployment.url}/status", timeout=60).text
