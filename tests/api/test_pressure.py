"""More at once than a process can do: who is served, who waits, who is told to come back, and what that costs.

A request that has sent its head and not yet its body holds a place: so a test says how long a place is taken.
"""

import json
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from s4.kernel.units import MIB
from tests.api.calls import assert_refused, by_key, client, connect, metric, new_tenant, put, raw_head
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment

SETTINGS = {
    "S4_SEARCH_CONCURRENCY": "2",
    "S4_SEARCH_CONCURRENCY_PER_TENANT": "1",
    "S4_UPLOAD_CONCURRENCY": "1",
    "S4_UPLOAD_CONCURRENCY_PER_TENANT": "1",
    "S4_DOWNLOAD_CONCURRENCY": "1",
    "S4_REQUEST_CONCURRENCY": "1",
    "S4_WAITING_REQUESTS_MAX": "3",
    "S4_WAITING_REQUESTS_PER_TENANT_MAX": "2",
    "S4_WAITING_SECONDS_MAX": "60",  # longer than any test: who waits is served, or refused by a bound
}
SEARCH = json.dumps({"query": "anything", "mode": "keyword"}).encode()
BECOMES_SECONDS_MAX = 60.0  # at once, on a machine that does nothing else


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    environment = FAST | SETTINGS | {"S4_ADMIN_API_KEY": ADMIN_KEY}
    started = Deployment(tmp_path_factory.mktemp("s4-crowded"), environment, ("--no-worker",)).start()
    yield started
    started.kill()


@pytest.fixture
def tenants(crowded: Deployment) -> Iterator[Callable[[], httpx.Client]]:
    """New tenants, each known to the process: it has proved its key. None is alone."""
    with ExitStack() as stack:

        def another() -> httpx.Client:
            tenant = stack.enter_context(new_tenant(crowded))
            assert tenant.post("/search", content=SEARCH, headers=JSON).status_code == 200
            return tenant

        another()
        yield another


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


JSON = {"Content-Type": "application/json"}


def becomes(at: Deployment, name: str, load: str, value: int) -> None:
    """Returns when the gauge shows the value."""
    give_up_at = time.monotonic() + BECOMES_SECONDS_MAX
    while (shown := metric(at, f"s4_http_places_{name}", load=load)) != value:
        assert time.monotonic() < give_up_at, f"{name} {load}: {shown}, not {value}"
        time.sleep(0.01)


class Holder:
    """A request that holds a place, or waits for one, until it is let go on."""

    def __init__(self, at: Deployment, tenant: httpx.Client, method: str, path: str, body: bytes, kind: str) -> None:
        self._body = body
        self._socket = connect(at)
        headers = (f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close")
        self._socket.sendall(raw_head(method, path, tenant, *headers))

    def goes_on(self) -> int:
        """Sends the body. Answers with the status."""
        self._socket.sendall(self._body)
        received = b""
        while part := self._socket.recv(65536):
            received += part
        self.hangs_up()
        return int(received.split(b" ", 2)[1])

    def hangs_up(self) -> None:
        self._socket.close()


def search_held(at: Deployment, tenant: httpx.Client) -> Holder:
    return Holder(at, tenant, "POST", "/search", SEARCH, "application/json")


def upload_held(at: Deployment, tenant: httpx.Client, key: str) -> Holder:
    return Holder(at, tenant, "PUT", by_key(key), b"held", "text/plain")


def search(tenant: httpx.Client) -> httpx.Response:
    return tenant.post("/search", content=SEARCH, headers=JSON)


def assert_told_to_come_back(answer: httpx.Response, status: int, code: str, **details: Any) -> None:
    assert assert_refused(answer, status, code)["details"] == details
    assert 1 <= int(answer.headers["Retry-After"]) <= 5


def test_a_tenant_beyond_its_share_is_refused_at_once_and_others_are_served(
    crowded: Deployment, tenants: Callable[[], httpx.Client], pool: ThreadPoolExecutor
) -> None:
    noisy, quiet = tenants(), tenants()
    held = search_held(crowded, noisy)
    becomes(crowded, "held", "search", 1)
    waiting = [pool.submit(search, noisy) for _ in range(2)]
    becomes(crowded, "waiting", "search", 2)

    for _ in range(3):
        answer = search(noisy)
        assert_told_to_come_back(answer, 429, "rate_limited", load="search", reason="share", at_once=1)
        assert search(quiet).status_code == 200
    assert noisy.get("/documents").status_code == 200, "what it does otherwise is another load"

    assert held.goes_on() == 200
    assert [each.result().status_code for each in waiting] == [200, 200]


def test_a_full_process_says_so_and_answers_health_and_administration(
    crowded: Deployment, tenants: Callable[[], httpx.Client], pool: ThreadPoolExecutor
) -> None:
    first, second, third, fourth, fifth = (tenants() for _ in range(5))
    held = [search_held(crowded, each) for each in (first, second)]
    becomes(crowded, "held", "search", 2)
    waiting = [pool.submit(search, each) for each in (third, fourth, fifth)]
    becomes(crowded, "waiting", "search", 3)
    told, began = len(crowded.events("http.no_place")), time.monotonic()
    refused_before = refusals(crowded, "full")

    with new_tenant(crowded, "Nobody knows its key yet") as sixth:
        for tenant in (sixth, *[first] * 20):
            assert_told_to_come_back(search(tenant), 503, "service_unavailable", load="search", reason="full")
    for path in ("/health", "/health/live", "/health/ready", "/metrics", "/status"):
        assert httpx.get(f"{crowded.url}{path}", timeout=60).status_code == 200, path
    with client(crowded, **{"X-Admin-Key": ADMIN_KEY}) as admin:
        assert admin.get("/admin/tenants").status_code == 200

    assert refusals(crowded, "full") - refused_before == 21
    lines_max = 1 + (time.monotonic() - began) / 10
    assert len(crowded.events("http.no_place")) - told <= lines_max, "refusals are summed up in the log"
    assert {line["level"] for line in crowded.events("http.request_finished")} == {"info"}
    assert [each.goes_on() for each in held] == [200, 200]
    assert [each.result().status_code for each in waiting] == [200] * 3


def refusals(at: Deployment, reason: str) -> float:
    return metric(at, "s4_http_places_refused_total", load="search", reason=reason)


def test_who_has_the_whole_line_makes_room_for_another(
    crowded: Deployment, tenants: Callable[[], httpx.Client], pool: ThreadPoolExecutor
) -> None:
    noisy, other, quiet = tenants(), tenants(), tenants()
    held = [search_held(crowded, each) for each in (noisy, other)]
    becomes(crowded, "held", "search", 2)
    waiting = [pool.submit(search, each) for each in (noisy, noisy, other)]
    becomes(crowded, "waiting", "search", 3)

    served: Future[httpx.Response] = pool.submit(search, quiet)
    pushed_out = next(each for each in wait_for_one(waiting[:2]) if each.done())
    assert_told_to_come_back(pushed_out.result(), 503, "service_unavailable", load="search", reason="full")

    assert [each.goes_on() for each in held] == [200, 200]
    assert served.result().status_code == 200
    assert sorted(each.result().status_code for each in waiting) == [200, 200, 503]


def wait_for_one(futures: list[Future[httpx.Response]]) -> list[Future[httpx.Response]]:
    give_up_at = time.monotonic() + BECOMES_SECONDS_MAX
    while not any(each.done() for each in futures):
        assert time.monotonic() < give_up_at, "nobody was refused"
        time.sleep(0.01)
    return futures


def test_who_hangs_up_while_waiting_leaves_the_line(
    crowded: Deployment, tenants: Callable[[], httpx.Client], pool: ThreadPoolExecutor
) -> None:
    tenant = tenants()
    held = search_held(crowded, tenant)
    becomes(crowded, "held", "search", 1)
    for _ in range(5):  # more often than there is room in the line
        gone = [search_held(crowded, tenant) for _ in range(2)]
        becomes(crowded, "waiting", "search", 2)
        for each in gone:
            each.hangs_up()
        becomes(crowded, "waiting", "search", 0)
    waiting = pool.submit(search, tenant)
    becomes(crowded, "waiting", "search", 1)
    assert held.goes_on() == 200
    assert waiting.result().status_code == 200
    becomes(crowded, "held", "search", 0)


def test_who_hangs_up_in_the_middle_of_a_body_leaves_its_place(
    crowded: Deployment, tenants: Callable[[], httpx.Client]
) -> None:
    tenant = tenants()
    held = search_held(crowded, tenant)
    becomes(crowded, "held", "search", 1)
    held.hangs_up()
    becomes(crowded, "held", "search", 0)
    assert search(tenant).status_code == 200


def test_uploads_take_turns_by_tenant_and_what_is_beyond_the_line_is_refused_unread(
    crowded: Deployment, tenants: Callable[[], httpx.Client], pool: ThreadPoolExecutor
) -> None:
    holder, noisy, quiet = tenants(), tenants(), tenants()
    held = upload_held(crowded, holder, "first")
    becomes(crowded, "held", "upload", 1)
    for number in range(2):
        pool.submit(put, noisy, f"noisy-{number}", "text")
        becomes(crowded, "waiting", "upload", number + 1)
    answer = put(noisy, "one too many", bytes(20 * MIB))
    assert_told_to_come_back(answer, 429, "rate_limited", load="upload", reason="share", at_once=1)
    last = pool.submit(put, quiet, "quiet", "text")
    becomes(crowded, "waiting", "upload", 3)

    assert held.goes_on() == 201
    assert last.result().status_code == 201
    stored = {each["key"]: each["uploaded_at"] for each in documents(noisy, 2) + documents(quiet, 1)}
    assert sorted(stored, key=lambda key: stored[key]) == ["noisy-0", "quiet", "noisy-1"]


def test_an_upload_that_is_refused_keeps_no_place_although_its_caller_goes_on_sending(
    crowded: Deployment, tenants: Callable[[], httpx.Client]
) -> None:
    tenant = tenants()
    assert put(tenant, "taken", "text").status_code == 201
    head = raw_head("PUT", by_key("taken"), tenant, "If-None-Match: *", f"Content-Length: {20 * MIB}")
    with connect(crowded) as sending:
        sending.sendall(head + bytes(MIB))
        assert sending.recv(65536).split(b" ", 2)[1] == b"412"
        becomes(crowded, "held", "upload", 0)
        assert put(tenant, "another", "text").status_code == 201
        sending.sendall(bytes(MIB))


def documents(tenant: httpx.Client, count: int) -> list[dict[str, Any]]:
    """The tenant's, as soon as there are so many."""
    give_up_at = time.monotonic() + BECOMES_SECONDS_MAX
    while len(found := tenant.get("/documents").json()["documents"]) < count:
        assert time.monotonic() < give_up_at, found
    return list(found)


def test_a_download_keeps_its_place_while_it_is_read_and_not_longer(
    crowded: Deployment, tenants: Callable[[], httpx.Client], pool: ThreadPoolExecutor
) -> None:
    tenant = tenants()
    document_id = put(tenant, "large", secrets.token_bytes(MIB) * 32).json()["document_id"]
    path = f"/documents/{document_id}/download"
    with slow_reader(crowded, raw_head("GET", path, tenant)):
        becomes(crowded, "held", "download", 1)
        second = pool.submit(tenant.get, path, headers={"Range": "bytes=0-9"})
        becomes(crowded, "waiting", "download", 1)
        assert tenant.get(f"/documents/{document_id}").status_code == 200
    assert second.result().status_code == 206


@contextmanager
def slow_reader(at: Deployment, request: bytes) -> Iterator[None]:
    """Has sent the request and reads nothing until the end of the block, when it hangs up."""
    with connect(at) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        connection.sendall(request)
        yield


def test_who_waits_for_a_document_stands_in_nobodys_way(
    crowded: Deployment, tenants: Callable[[], httpx.Client], pool: ThreadPoolExecutor
) -> None:
    tenant = tenants()
    document_id = put(tenant, "never ready", "text").json()["document_id"]
    polls = [pool.submit(tenant.get, f"/documents/{document_id}", params={"wait": 60}) for _ in range(5)]
    becomes(crowded, "held", "long_poll", 5)
    assert tenant.get("/documents").status_code == 200
    assert not any(each.done() for each in polls)
    assert tenant.delete(f"/documents/{document_id}").status_code == 204
    assert {each.result().status_code for each in polls} == {404}, "they waited for this one"


def test_refused_calls_are_not_counted(
    crowded: Deployment, tenants: Callable[[], httpx.Client], pool: ThreadPoolExecutor
) -> None:
    tenant = tenants()
    held = search_held(crowded, tenant)
    becomes(crowded, "held", "search", 1)
    waiting = [pool.submit(search, tenant) for _ in range(2)]
    becomes(crowded, "waiting", "search", 2)
    assert {search(tenant).status_code for _ in range(10)} == {429}
    assert held.goes_on() == 200
    assert {each.result().status_code for each in waiting} == {200}
    give_up_at = time.monotonic() + BECOMES_SECONDS_MAX
    while (counted := calls_counted(tenant)) < 4:
        assert time.monotonic() < give_up_at, counted
    assert counted == 4, "the first, the held one, and the two that waited"


def calls_counted(tenant: httpx.Client) -> int:
    return int(tenant.get("/profile").json()["usage"]["api_calls_count"])
