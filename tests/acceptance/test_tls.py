"""TLS on every side, under an authority made for the test, and a proxy before it whose word counts."""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from redis import Redis
from structlog.testing import capture_logs

from s4.platform.rates import Rate, open_shared
from s4.platform.trust import trusting
from s4client import S4AdminClient, S4Client, S4ConnectionError
from tests.acceptance.conftest import Command
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment, running
from tests.factories.nursery import until
from tests.factories.provider import counting_provider
from tests.factories.tls import Authority, tls_door
from tests.servers import PostgresServer, RedisServer, S3Server

pytestmark = pytest.mark.processes

BOUND_SECONDS = 60
WRONG_KEY = {"X-Tenant-Key": "s4_" + "a" * 40}


@dataclass(frozen=True, slots=True)
class Secured:
    deployment: Deployment
    authority: Authority
    environment: dict[str, str]
    redis_url: str


@pytest.fixture(scope="module")
def secured(
    tmp_path_factory: pytest.TempPathFactory,
    s3_server: S3Server,
    s3_shared_bucket: str,
    postgres_server: PostgresServer,
) -> Iterator[Secured]:
    """`s4 serve` with a certificate, whose store, database, Redis and provider are reached by TLS alone."""
    folder = tmp_path_factory.mktemp("tls")
    authority, redis = Authority(folder), RedisServer()
    database = postgres_server.new_database()
    with contextlib.ExitStack() as stack:
        stack.callback(postgres_server.drop_database, database)
        stack.callback(redis.stop)
        redis_url = redis.wait()
        provider = stack.enter_context(counting_provider())
        doors = {
            name: stack.enter_context(tls_door(authority, url, postgresql=name == "postgresql"))
            for name, url in {
                "s3": s3_server.endpoint,
                "postgresql": database,
                "redis": redis_url,
                "provider": provider.base_url,
            }.items()
        }
        environment = {
            **FAST,
            **provider.settings,
            "S4_EMBEDDING_BASE_URL": f"https://{doors['provider']}/v1",
            "S4_EMBEDDING_RETRIES_MAX": "0",
            "S4_STORE_URL": f"s3://{s3_shared_bucket}/tls",
            "S4_STORE_ENDPOINT": f"https://{doors['s3']}",
            "S4_STORE_ACCESS_KEY_ID": s3_server.access_key,
            "S4_STORE_SECRET_ACCESS_KEY": s3_server.secret_key,
            "S4_STORE_RETRIES_MAX": "0",
            "S4_DATABASE_URL": f"postgresql://postgres@{doors['postgresql']}{database[database.rindex('/') :]}"
            "?sslmode=verify-full",
            "S4_REDIS_URL": f"rediss://{doors['redis']}/0",
            "S4_REDIS_TIMEOUT_SECONDS": "5",  # a handshake in this busy process is slow
            "S4_TLS_CERT": str(authority.certificate),
            "S4_TLS_KEY": str(authority.key),
            "S4_TRUSTED_PROXIES": "127.0.0.0/8",
            "S4_AUTH_FAILURES_PER_MINUTE": "2",
        }
        trusting = {**environment, "S4_CA_FILE": str(authority.file)}
        deployment = stack.enter_context(running(folder / "data", **trusting))
        yield Secured(deployment, authority, environment, redis_url)


def new_tenant(secured: Secured) -> str:
    with S4AdminClient(secured.deployment.url, api_key=ADMIN_KEY, ca_file=secured.authority.file) as admin:
        return admin.create_tenant("Acme").api_key


def test_everything_that_s4_connects_to_may_speak_tls_under_an_authority_of_ones_own(secured: Secured) -> None:
    assert secured.deployment.url.startswith("https://")
    with S4Client(secured.deployment.url, api_key=new_tenant(secured), ca_file=secured.authority.file) as acme:
        uploaded = acme.upload(b"Tides follow the moon.", key="tides", filename="tides.txt")
        assert acme.wait(uploaded.document_id, timeout=BOUND_SECONDS).status == "ready"
        found = acme.search("follow the moon", mode="semantic")
        assert [result.key for result in found.results] == ["tides"]
        assert not found.degraded
    with Redis.from_url(secured.redis_url) as redis:
        assert [name for name in redis.scan_iter() if b":rate:" in name]
    assert not secured.deployment.events("rates.alone")


def test_a_client_needs_the_authority_too(secured: Secured, here: Command) -> None:
    key = new_tenant(secured)
    with (
        S4Client(secured.deployment.url, api_key=key) as stranger,
        pytest.raises(S4ConnectionError, match="certificate is not trusted"),
    ):
        stranger.search("moon")
    asked = {"S4_URL": secured.deployment.url, "S4_TENANT_KEY": key}
    assert "--ca-file or S4_CA_FILE" in here("ls", **asked).err
    done = here("ls", **asked, S4_CA_FILE=str(secured.authority.file))
    assert (done.code, done.err) == (0, "")


def test_without_the_authority_s4_connects_to_none_of_them(secured: Secured, here: Command, tmp_path: Path) -> None:
    told = here("config", "check", "--connect", "--json", S4_DATA_DIR=str(tmp_path), **secured.environment)
    assert told.code == 1
    said = {each["dependency"]: each for each in json.loads(told.out)["dependencies"]}
    assert {name for name, each in said.items() if each["works"]} == set()
    assert "certificate" in said["database"]["message"]
    trusting = {**secured.environment, "S4_CA_FILE": str(secured.authority.file)}
    assert here("config", "check", "--connect", S4_DATA_DIR=str(tmp_path), **trusting).code == 0


async def test_a_redis_that_nobody_known_vouches_for_is_not_asked(secured: Secured) -> None:
    url, timeout, rate = secured.environment["S4_REDIS_URL"], timedelta(seconds=BOUND_SECONDS), Rate(1.0, 1)
    stranger = open_shared(url, prefix="tls:", timeout=timeout)
    with capture_logs() as logs:
        await stranger.take("acme", rate)
    assert [line["event"] for line in logs] == ["rates.alone"]
    assert "certificate verify failed" in logs[0]["message"]
    with trusting(secured.authority.file), capture_logs() as logs:
        friend = open_shared(url, prefix="tls:", timeout=timeout)
        await friend.take("acme", rate)
        await friend.aclose()
    assert logs == []
    await stranger.aclose()


def test_behind_a_trusted_proxy_each_caller_answers_for_himself(secured: Secured) -> None:
    """Throttled, logged and recorded by the address that the proxy noted; what a caller adds to it counts for
    nothing."""
    deployment = secured.deployment
    with httpx.Client(base_url=deployment.api, verify=secured.authority.trusting(), timeout=60) as proxy:

        def attempt(address: str) -> int:
            said = f"203.0.113.{time.monotonic_ns() % 250}, {address}, 127.0.0.9"
            return proxy.get("/documents", headers={**WRONG_KEY, "X-Forwarded-For": said}).status_code

        assert [attempt("198.51.100.7") for _ in range(3)] == [401, 401, 429]
        assert attempt("2001:db8::7") == 401
        admin = {"X-Admin-Key": ADMIN_KEY, "X-Forwarded-For": "198.51.100.8"}
        proxy.get("/admin/plans", headers=admin).raise_for_status()

    def logged() -> Counter[str]:
        lines = deployment.events("http.request_finished")
        return Counter(str(line["details"]["client_address"]) for line in lines)

    until(lambda: logged()["198.51.100.8"], "the last request is in the log")
    assert logged() >= Counter({"198.51.100.7": 3, "2001:db8::7": 1, "198.51.100.8": 1})
    assert not [address for address in logged() if address.startswith(("203.0.113.", "127.0.0.9"))]
