"""What a request may not hold: JSON that parsers read differently, parameters that nobody knows, odd addresses."""

import httpx
import pytest

from tests.unit.test_http_app import FULL, client

__all__ = ["client"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"\xff", 400),
        (b"[" * 900, 422),
        (b'{"title": "\\ud800"}', 400),
        (b'{"title": "\xed\xa0\x80"}', 400),
        (b'{"title": "a\\u0000b"}', 400),
        (b'{"title": "a", "n": NaN}', 400),
        (b'{"title": "a", "n": 1e999}', 400),
        (b'{"title": "a", "n": ' + b"1" * 900 + b".0}", 400),
        ('{"title": "a"}'.encode("utf-16"), 400),
    ],
)
async def test_what_is_no_json_is_refused(client: httpx.AsyncClient, body: bytes, status: int) -> None:
    headers = {**FULL, "Content-Type": "application/json"}
    answer = await client.post("/api/v1/notes", content=body, headers=headers)

    assert answer.status_code == status
    assert answer.json()["error"]["code"] == "invalid_request"


@pytest.mark.parametrize(
    "body",
    [
        b'{"title": "a", "title": "b"}',
        b'{"title": "a", "more": [{"title": 1, "t\\u0069tle": 2}]}',
        b'{"title": "1e999", "title": "b"}',
    ],
    ids=["plainly", "deep and escaped", "beside what looks odd"],
)
async def test_a_name_that_stands_twice_in_an_object_is_refused_and_named(
    client: httpx.AsyncClient, body: bytes
) -> None:
    answer = await client.post("/api/v1/notes", content=body, headers={**FULL, "Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert "'title'" in answer.json()["error"]["message"]


async def test_one_name_in_two_objects_is_no_duplicate(client: httpx.AsyncClient) -> None:
    body = b'{"title": "a", "more": [{"title": 1}, {"title": 2}]}'
    answer = await client.post("/api/v1/notes", content=body, headers={**FULL, "Content-Type": "application/json"})

    assert answer.json() == {"title": "a"}


@pytest.mark.parametrize("title", ["\U0001f600", "\\ud800", "NaN 1e999"])
async def test_json_that_only_looks_odd_is_taken(client: httpx.AsyncClient, title: str) -> None:
    answer = await client.post("/api/v1/notes", json={"title": title}, headers=FULL)

    assert answer.json() == {"title": title}


@pytest.mark.parametrize("path", ["/api/v1/notes/a%00b", "/api/v1/notes/a?x=%00"])
async def test_an_address_with_a_nul_character_is_refused(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path, headers=FULL)).status_code == 400


async def test_a_query_parameter_that_a_route_does_not_know_is_refused_by_its_name(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/notes/found?q=x&abuot.size=7&words=y", headers=FULL)
    bare = await client.delete("/api/v1/notes/7?force=true", headers=FULL)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert answer.json()["error"]["details"] == {"parameter": "abuot.size", "known": ["q", "about.<field>"]}
    assert "abuot.size" in answer.json()["error"]["message"]
    assert (bare.status_code, bare.json()["error"]["details"]["known"]) == (400, [])


async def test_declared_parameters_and_a_declared_family_of_them_are_taken(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/notes/found?q=x&about.size=7&about.me=1", headers=FULL)

    assert answer.json() == ["about.me", "about.size", "q"]


async def test_a_public_route_takes_the_parameters_that_a_balancer_adds(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/notes/public?probe=17")).status_code == 200


async def test_a_stranger_is_not_told_the_parameters(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/notes/found?wrong=1")).status_code == 401
