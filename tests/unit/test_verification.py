"""The verifier's own judgement: what counts as known, as alike, as overheard, as proved."""

from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from s4.entrypoints.verification.callers import Caller, Comparison, Ear
from s4.entrypoints.verification.checks.credentials import guess_at, routes_are_known
from s4.entrypoints.verification.matrix import Matrix, read
from s4.entrypoints.verification.report import Report, Verdict
from s4.entrypoints.verification.scene import Scene
from s4.platform.security import credentials

DOCUMENT = "/api/v1/documents/{document_id}"


def matrix(**operations: Any) -> Matrix:
    """`matrix(**{"GET /path": "permission"})`."""
    paths: dict[str, Any] = {}
    for name, permission in operations.items():
        method, path = name.split(" ")
        said = {} if permission is None else {"x-s4-permission": permission}
        paths.setdefault(path, {})[method.lower()] = said
    return read({"paths": paths})


def looked_at(found: Matrix) -> Report:
    report = Report("http://s4", "1", "1", "now")
    routes_are_known(cast("Scene", SimpleNamespace(matrix=found)), report)
    return report


def test_a_route_that_the_table_does_not_have_leaves_the_proof_incomplete() -> None:
    report = looked_at(matrix(**{f"GET {DOCUMENT}": "documents:read", "GET /api/v1/secrets": "documents:read"}))

    assert report.verdict is Verdict.INCOMPLETE
    assert report.verdict.exit_code == 2
    (gap,) = report.get("routes").gaps
    assert gap == "GET /api/v1/secrets: this release's verifier does not know the route"


@pytest.mark.parametrize(
    ("name", "permission"),
    [
        (f"GET {DOCUMENT}", None),
        (f"GET {DOCUMENT}", "public"),
        (f"GET {DOCUMENT}", "admin:read"),
        (f"GET {DOCUMENT}", "everything"),
        ("GET /api/v1/admin/tenants", "documents:read"),
        ("GET /api/v1/admin/tenants", "public"),
        ("GET /api/v1/anything", "public"),
    ],
)
def test_a_route_with_another_permission_than_it_must_have_is_a_failure(name: str, permission: str | None) -> None:
    report = looked_at(matrix(**{name: permission}))

    assert report.verdict is Verdict.REFUTED
    assert report.verdict.exit_code == 1


def test_a_route_as_it_must_be_is_proved() -> None:
    report = looked_at(matrix(**{f"GET {DOCUMENT}": "documents:read", "GET /health": "public"}))

    assert (report.verdict, report.verdict.exit_code) == (Verdict.PROVED, 0)


def answers(*bodies: bytes, **headers: str) -> httpx.Client:
    """A server that answers one after the other, with its headers."""
    left = list(bodies)
    return httpx.Client(
        base_url="http://s4",
        transport=httpx.MockTransport(lambda _: httpx.Response(200, content=left.pop(0), headers=headers)),
    )


def test_what_belongs_to_another_is_heard_in_bodies_and_headers_in_every_form() -> None:
    for body, headers in ((b"a qzword", {}), (b"qzword".hex().encode(), {}), (b"", {"X-Name": "qzword"})):
        ear = Ear({"B's word": "qzword"})
        Caller(answers(body, **headers), {}, ear=ear).ask("GET", "/api/v1/documents")
        assert ear.heard == ["GET /api/v1/documents told B's word"]


def test_what_the_asker_said_itself_may_come_back() -> None:
    ear = Ear({"B's word": "qzword"})
    caller = Caller(answers(b"qzword", b"qzword", b"qzword"), {}, ear=ear)
    caller.ask("GET", "/api/v1/documents/qzword")
    caller.ask("POST", "/api/v1/search", json={"query": "qzword"})
    caller.ask("POST", "/api/v1/documents", data={"key": "qzword"}, files={"file": ("a", b"a")})
    assert ear.heard == []


def test_answers_are_alike_but_for_what_differs_between_any_two() -> None:
    def answer(status: int = 404, body: bytes = b"none", **headers: str) -> httpx.Response:
        return httpx.Response(status, content=body, headers={"X-Trace": "1", "X-Kind": "a"} | headers)

    comparison = Comparison.learned([answer(), answer(**{"X-Trace": "2"})])
    assert comparison.differs(answer(**{"X-Trace": "3", "X-Rate-Limit-Remaining": "4"}), answer()) is None
    assert comparison.differs(answer(200), answer()) == "status 200 instead of 404"
    assert comparison.differs(answer(body=b"NONE"), answer()) == "body"
    assert comparison.differs(answer(**{"X-Kind": "b"}), answer()) == "header x-kind"


def test_a_guess_has_the_form_and_the_public_part_of_the_key_and_another_secret() -> None:
    key = credentials.mint(lambda count: bytes(range(count))).plaintext
    guessed, known = credentials.parse(guess_at(key)), credentials.parse(key)
    assert guessed is not None
    assert known is not None
    assert guessed.prefix == known.prefix
    assert guessed.plaintext != known.plaintext
