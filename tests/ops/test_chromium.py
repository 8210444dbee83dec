"""Hostile downloads in a real browser: nothing of them runs, calls out, or reads the API.

Chromium reaches S4 through a small proxy that adds the tenant's key, as a careless gateway with a cookie would: a
script that ran there could read every document. The same proxy can take S4's protecting headers away, and then the
scripts do run: so the test would see them.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from urllib.parse import quote, unquote

import httpx
import pytest
from selenium.webdriver import Chrome

from tests.factories.calls import put, stored
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment
from tests.factories.hostile_pages import RAN, HostileFile, hostile_files

pytestmark = pytest.mark.ops

SECONDS_MAX = 20.0  # for what is awaited; a page takes a fraction of a second
PROTECTION = frozenset(
    {
        "content-disposition",
        "content-security-policy",
        "cross-origin-resource-policy",
        "x-content-type-options",
    }
)
HOP_BY_HOP = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive"})


class Site:
    """A web site on loopback. `answer` says what a path gets: status, headers, body."""

    def __init__(self, answer: Callable[[str], tuple[int, dict[str, str], bytes]]) -> None:
        self.asked: Queue[str] = Queue()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked.put(self.path)
                status, headers, body = answer(self.path)
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):  # the browser has left
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    environment = FAST | {"S4_ADMIN_API_KEY": ADMIN_KEY}
    started = Deployment(tmp_path_factory.mktemp("s4"), environment, ("--no-worker",)).start()
    yield started
    started.kill()


@pytest.fixture(scope="module")
def tenant(deployment: Deployment) -> Iterator[httpx.Client]:
    with deployment.new_tenant() as opened:
        yield opened


@pytest.fixture
def canary() -> Iterator[Site]:
    """The attacker's own site, which counts who calls. `/embedding?urls` is a page that frames, embeds and loads as a
    script each of the urls; `/end` calls back when all before it had its chance."""

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/embedding?"):
            return 200, {"Content-Type": "text/html"}, embedding(unquote(path.partition("?")[2]).split())
        if path == "/end":
            return 200, {"Content-Type": "text/html"}, b"<script>fetch('/ended')</script>"
        return 200, {"Content-Type": "text/plain"}, b""

    site = Site(answer)
    yield site
    site.close()


@pytest.fixture
def door(deployment: Deployment, tenant: httpx.Client) -> Iterator[Site]:
    """S4 as a browser sees it behind a gateway that knows the user."""
    yield from gateway(deployment, tenant, frozenset())


@pytest.fixture
def unprotected_door(deployment: Deployment, tenant: httpx.Client) -> Iterator[Site]:
    """The same without the headers that protect."""
    yield from gateway(deployment, tenant, PROTECTION)


def gateway(deployment: Deployment, tenant: httpx.Client, removed: frozenset[str]) -> Iterator[Site]:
    key = tenant.headers["X-Tenant-Key"]

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        given = httpx.get(deployment.url + path, headers={"X-Tenant-Key": key}, timeout=60)
        headers = {n: v for n, v in given.headers.items() if n not in removed and n not in HOP_BY_HOP}
        return given.status_code, headers, given.content

    site = Site(answer)
    yield site
    site.close()


def uploaded(tenant: httpx.Client, files: list[HostileFile]) -> dict[str, str]:
    """Paths of the downloads by name."""
    return {
        file.name: f"/api/v1/documents/{document['document_id']}/download"
        for file in files
        for document in [stored(put(tenant, quote(file.name), file.content, {}, **{"Content-Type": file.declared}))]
    }


def calls_until_the_end(browser: Chrome, canary: Site) -> list[str]:
    """What reached the canary until a last page that calls it, opened after all others had loaded, has done so."""
    browser.get(f"{canary.origin}/end")
    calls: list[str] = []
    while (path := canary.asked.get(timeout=SECONDS_MAX)) != "/ended":
        if path not in ("/end", "/favicon.ico"):
            calls.append(path)
    return calls


@pytest.mark.parametrize("disposition", ["inline", "attachment"])
def test_nothing_of_a_hostile_download_acts_when_it_is_opened(
    browser: Chrome, tenant: httpx.Client, door: Site, canary: Site, disposition: str
) -> None:
    files = hostile_files(canary.origin, marker=disposition)
    for name, path in uploaded(tenant, files).items():
        browser.get("about:blank")
        browser.get(f"{door.origin}{path}?disposition={disposition}")
        assert browser.title != RAN, name

    assert calls_until_the_end(browser, canary) == []
    assert {path for path in drained(door.asked) if not path.endswith(f"/download?disposition={disposition}")} <= {
        "/favicon.ico"
    }, "a page read the API"


def test_nothing_of_a_hostile_download_acts_within_a_page_that_embeds_it(
    browser: Chrome, tenant: httpx.Client, door: Site, canary: Site
) -> None:
    paths = uploaded(tenant, hostile_files(canary.origin, marker="embedded"))
    open_embedded(browser, canary, door, list(paths.values()))

    assert [call for call in calls_until_the_end(browser, canary) if call.startswith("/embedded/")] == []


def test_without_its_headers_the_same_downloads_do_act_within_a_page_that_embeds_them(
    browser: Chrome, tenant: httpx.Client, unprotected_door: Site, canary: Site
) -> None:
    page = next(file for file in hostile_files(canary.origin, marker="framed") if file.proof is not None)
    open_embedded(browser, canary, unprotected_door, list(uploaded(tenant, [page]).values()))

    await_call(canary, f"/framed/{page.proof}")


def test_without_its_headers_the_same_downloads_do_act(
    browser: Chrome, tenant: httpx.Client, unprotected_door: Site, canary: Site
) -> None:
    """The control: what the tests above look for can be seen."""
    for file in hostile_files(canary.origin, marker="control"):
        marked = hostile_files(canary.origin, marker=file.name)
        paths = uploaded(tenant, [one for one in marked if one.name == file.name])
        browser.get(f"{unprotected_door.origin}{paths[file.name]}?disposition=inline")
        if file.proof is not None:
            await_call(canary, f"/{file.name}/{file.proof}")


def open_embedded(browser: Chrome, canary: Site, door: Site, paths: list[str]) -> None:
    urls = " ".join(f"{door.origin}{path}?disposition=inline" for path in paths)
    browser.get(f"{canary.origin}/embedding?{quote(urls, safe='')}")
    assert browser.title == "embedding"


def embedding(urls: list[str]) -> bytes:
    framed = "".join(
        f'<iframe src="{url}"></iframe><object data="{url}"></object><embed src="{url}"/><script src="{url}"></script>'
        for url in urls
    )
    return f"<!doctype html><title>embedding</title><body>{framed}".encode()


def await_call(site: Site, start: str) -> None:
    """Raises `AssertionError` when no path that starts so is asked for."""
    with contextlib.suppress(Empty):
        while not site.asked.get(timeout=SECONDS_MAX).startswith(start):
            pass
        return
    raise AssertionError(f"nothing called {start}")


def drained(queue: Queue[str]) -> list[str]:
    found: list[str] = []
    with contextlib.suppress(Empty):
        while True:
            found.append(queue.get_nowait())
    return found
