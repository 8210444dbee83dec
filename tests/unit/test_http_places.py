"""Places come before credentials are looked up: what a refusal costs, and in whose turn a key stands."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from structlog.testing import capture_logs

from s4.kernel.context import AdminContext, TenantContext
from s4.kernel.errors import Unauthenticated
from s4.kernel.ids import TenantId
from s4.kernel.permissions import TENANT_SCOPES, Permission
from s4.kernel.plans import UNLIMITED
from s4.platform.http.errors import install_error_handlers
from s4.platform.http.middleware import Finished, HttpLimits, HttpMiddleware
from s4.platform.http.places import Line, Load, Places, Share
from s4.platform.http.routing import Credentials, CurrentTenant, DomainRouter

SHARE = Share(places=3, per_tenant=1, alone=1)


@dataclass
class House:
    """Tenants `a`, `b` … with any number of keys `a-…`; what they search for comes when `open` is set."""

    line: Line
    looked_up: list[str] = field(default_factory=list)
    served: list[str] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[asyncio.Task[httpx.Response]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.places = Places(dict.fromkeys(Load, SHARE), self.line)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self._app()), base_url="http://s4")

    async def tenant(self, credentials: Credentials) -> TenantContext:
        key = credentials.tenant_key or ""
        self.looked_up.append(key)
        if "-" not in key:
            raise Unauthenticated("The key is not known.")
        return TenantContext(TenantId(key.partition("-")[0]), None, TENANT_SCOPES, UNLIMITED)

    async def admin(self, _: Credentials) -> AdminContext:
        raise Unauthenticated("Nobody here.")

    def _app(self) -> FastAPI:
        router = DomainRouter()

        @router.post("/search", permission=Permission.SEARCH, load=Load.SEARCH)
        async def search(context: CurrentTenant) -> str:
            self.served.append(context.tenant_id)
            await self.open.wait()
            return context.tenant_id

        app = FastAPI()
        app.state.s4_authenticator = self
        app.state.s4_places = self.places
        app.state.s4_rate_gate = None
        app.state.s4_admissions = ()
        app.include_router(router)
        install_error_handlers(app)
        limits = HttpLimits(request_body_bytes_max=1000, request_body_seconds_max=5, api_version="1")
        app.add_middleware(HttpMiddleware, limits=limits, random=secrets.token_bytes, observers=(self.finished.append,))
        return app

    async def asks(self, key: str) -> asyncio.Task[httpx.Response]:
        """A search that is served, waits, or is answered."""
        before = self._come_so_far
        task = asyncio.create_task(self.client.post("/search", headers={"X-Tenant-Key": key}))
        self.asked.append(task)
        async with asyncio.timeout(20):
            while self._come_so_far == before and not task.done():  # noqa: ASYNC110 - nobody says when it waits
                await asyncio.sleep(0.001)
        return task

    @property
    def _come_so_far(self) -> int:
        return len(self.served) + self.places.turns[Load.SEARCH].waiting


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with capture_logs():
        yield


Build = Callable[..., House]


@pytest.fixture
async def house() -> AsyncIterator[Build]:
    """Makes one. At the end every request is let go on and has its answer."""
    made: list[House] = []

    def build(waiting: int = 8, per_tenant: int = 2, wait_seconds: float = 60.0) -> House:
        made.append(House(Line(waiting, per_tenant, timedelta(seconds=wait_seconds))))
        return made[-1]

    yield build
    for each in made:
        each.open.set()
        await asyncio.gather(*each.asked)


async def test_a_refusal_asks_nobody_and_counts_for_the_tenant_and_not_as_its_call(house: Build) -> None:
    here = house(per_tenant=1)
    tasks = [await here.asks("a-1") for _ in range(2)]
    assert here.looked_up == ["a-1"]

    refused = await here.client.post("/search", headers={"X-Tenant-Key": "a-1"})

    assert refused.status_code == 429
    assert here.looked_up == ["a-1"]
    (finished,) = here.finished
    assert (finished.exchange.tenant_id, finished.is_call) == ("a", False)
    here.open.set()
    assert {(await task).status_code for task in tasks} == {200}
    assert [each.is_call for each in here.finished] == [False, True, True]


async def test_a_tenant_has_one_share_for_all_its_keys_those_too_that_were_never_seen(house: Build) -> None:
    here = house()
    tasks = [await here.asks(f"a-{number}") for number in range(3)]
    assert here.served == ["a"]
    assert (await here.asks("b-1")) is not None
    assert here.served == ["a", "b"]

    here.open.set()
    assert {(await task).status_code for task in tasks} == {200}


async def test_strangers_keys_leave_their_place_when_they_are_refused(house: Build) -> None:
    here = house()
    for number in range(SHARE.places * 3):
        assert (await (await here.asks(f"stranger {number}"))).status_code == 401
    assert here.places.turns[Load.SEARCH].held == 0


async def test_keys_that_are_not_known_yet_are_refused_as_others_are_and_not_for_their_own_share(house: Build) -> None:
    here = house(per_tenant=0)
    tasks = [await here.asks(key) for key in ("a-1", "b-1", "c-1")]
    refused = await (await here.asks("d-1"))
    assert (refused.status_code, refused.json()["error"]["details"]["reason"]) == (503, "full")
    here.open.set()
    assert {(await task).status_code for task in tasks} == {200}


async def test_who_waited_as_long_as_may_be_is_told_whose_fault_it_is(house: Build) -> None:
    here = house(wait_seconds=0.02)
    tasks = [await here.asks(key) for key in ("a-1", "b-1", "c-1")]
    await here.asks("d-1")  # not looked up, so it is an unknown key's turn that ends
    own = await (await here.asks("a-1"))
    others = await (await here.asks("d-1"))

    assert (own.status_code, own.json()["error"]["details"]["reason"]) == (429, "share")
    assert (others.status_code, others.json()["error"]["details"]["reason"]) == (503, "late")
    assert not any(each.is_call for each in here.finished)
    here.open.set()
    assert {(await task).status_code for task in tasks} == {200}
    assert here.places.turns[Load.SEARCH].held == 0


async def test_refusals_are_summed_up_in_the_log(house: Build) -> None:
    here = house(per_tenant=0)
    await here.asks("a-1")
    with capture_logs() as logs:
        for _ in range(50):
            assert (await (await here.asks("a-1"))).status_code == 429
    lines = [line for line in logs if line["log_level"] != "debug"]
    assert [line["event"] for line in lines] == ["http.no_place"]
    assert lines[0]["most_refused_tenant_id"] == "a"
    here.open.set()


async def test_who_hangs_up_leaves_the_line_and_nobody_else_does() -> None:
    turns = Places(dict.fromkeys(Load, SHARE), Line(8, 8, timedelta(seconds=60)))
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    digest = b"digest"
    first = await turns.enter(Load.SEARCH, digest, None)
    leaving = asyncio.create_task(turns.enter(Load.SEARCH, digest, gone))
    staying = asyncio.create_task(turns.enter(Load.SEARCH, digest, None))
    await asyncio.sleep(0)

    gone.set_result(None)
    with pytest.raises(ClientDisconnect):
        await leaving
    first.leave()
    first.leave()  # twice gives nothing twice
    (await staying).leave()
    assert turns.turns[Load.SEARCH].held == 0


async def test_a_tenant_has_more_while_it_is_alone_and_its_share_as_soon_as_another_asks() -> None:
    now = 0.0
    line = Line(8, 8, timedelta(seconds=60))
    places = Places({Load.UPLOAD: Share(3, 1, 2), Load.SEARCH: Share(3, 1, 2)}, line, clock=lambda: now)
    places.learn(b"a", "a")
    places.learn(b"b", "b")
    now = 100.0

    first = await places.enter(Load.UPLOAD, b"a", None)
    second = await places.enter(Load.UPLOAD, b"a", None)
    (await places.enter(Load.SEARCH, b"b", None)).leave()
    third = asyncio.create_task(places.enter(Load.UPLOAD, b"a", None))
    await asyncio.sleep(0)
    second.leave()
    await asyncio.sleep(0)
    assert not third.done(), "whatever the other does, it is no longer alone"
    first.leave()
    held = await third
    now = 161.0
    (await places.enter(Load.UPLOAD, b"a", None)).leave()
    held.leave()
