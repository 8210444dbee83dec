"""Those who ask. Every byte that a tenant or a stranger is sent is searched for what belongs to another."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from s4.entrypoints.verification.declared import FILE
from s4.entrypoints.verification.matrix import ALIAS, VERSIONED, Route, filled

TENANT_KEY = "X-Tenant-Key"
ADMIN_KEY = "X-Admin-Key"

_PATIENCE_SECONDS = 120.0  # with a deployment that limits the rate, or is about to restart, all repeats together
_PAUSE_SECONDS_MAX = 30.0
_NEVER_COMPARED = frozenset({"x-request-id", "date", "ratelimit", "ratelimit-policy"})
_RATES = "x-rate-limit-"


class CannotVerify(Exception):
    """The verification cannot be carried out; the sentence says why."""


@dataclass
class Ear:
    """Listens for `secrets`, by name, in all that it is given. What an asker sent itself may come back."""

    secrets: dict[str, str] = field(default_factory=dict)
    answers: int = 0
    heard: list[str] = field(default_factory=list)

    def listen(self, answer: httpx.Response, *, form: object = None) -> None:
        """`form`: the fields of a form that was sent, which the request itself does not tell."""
        self.answers += 1
        said = b"\n".join([*(name + b": " + value for name, value in answer.headers.raw), answer.content])
        asked = _sent(answer.request) + str(form).encode()
        for name, secret in self.secrets.items():
            for form in (secret.encode(), secret.encode().hex().encode()):
                if form in said and form not in asked:
                    self.heard.append(f"{answer.request.method} {answer.request.url.path} told {name}")


def _sent(request: httpx.Request) -> bytes:
    try:
        body = request.content
    except httpx.RequestNotRead:  # a form
        body = b""
    return b"\n".join([bytes(request.url.raw_path), *(value for _, value in request.headers.raw), body])


@dataclass(frozen=True)
class Caller:
    """One who asks with `headers`. `word` is what he calls things; `ear` hears what he is told, if that is given."""

    http: httpx.Client
    headers: Mapping[str, str] = field(repr=False)
    word: str = "s4-verify"
    ear: Ear | None = None

    def ask(
        self, method: str, path: str, *, patient: bool = True, headers: Mapping[str, str] | None = None, **request: Any
    ) -> httpx.Response:
        """`path` from the root. `patient`: asks again when it was too fast, as `Retry-After` says."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            answer = self.http.request(method, path, headers={**self.headers, **(headers or {})}, **request)
            if self.ear is not None:
                self.ear.listen(answer, form=request.get("data"))
            pause = _pause(answer) if patient else None
            if pause is None:
                return answer
            if time.monotonic() + pause > deadline:
                raise CannotVerify(
                    f"{method} {path} was answered {answer.status_code} for {_PATIENCE_SECONDS:g} s: give the "
                    "verification a plan with a higher rate (--plan), or run it when the deployment is less busy."
                )
            time.sleep(pause)

    def call(
        self, route: Route, ids: Mapping[str, str], *, alias: bool = False, patient: bool = True, **more: Any
    ) -> httpx.Response:
        """A well-formed request of a route about `ids`. `alias`: by the path without the version."""
        path = filled(route.path, {name: quote(each) for name, each in ids.items()})
        if alias and path.startswith(VERSIONED):
            path = ALIAS + path.removeprefix(VERSIONED)
        return self.ask(route.method, path, patient=patient, **_body(route, {"word": self.word, **ids}), **more)


def _body(route: Route, words: Mapping[str, str]) -> dict[str, Any]:
    call = route.call
    assert call is not None, "only known routes are called"
    body: dict[str, Any] = {}
    if call.params:
        body["params"] = filled(dict(call.params), words)
    if call.json is not None:
        body["json"] = filled(call.json, words)
    if call.content == FILE:
        body["files"] = {"file": ("mine.txt", b"Mine, and about tides.", "text/plain")}
    elif call.content is not None:
        body["content"] = call.content.encode()
    return body


def _pause(answer: httpx.Response) -> float | None:
    """How long a caller who was too fast, or came at a bad moment, is told to wait."""
    if answer.status_code not in (429, 503):
        return None
    try:
        asked = float(answer.headers.get("Retry-After", "1"))
    except ValueError:
        asked = 1.0
    return min(max(asked, 0.05), _PAUSE_SECONDS_MAX)


@dataclass(frozen=True)
class Comparison:
    """Two answers are alike when status, headers and body are, but for headers that differ between any two."""

    ignored: frozenset[str]

    @classmethod
    def learned(cls, answers: Iterable[httpx.Response]) -> "Comparison":
        """From answers to one and the same request: what differs among them, a proxy's trace say, tells nothing."""
        seen: dict[str, set[str]] = {}
        for answer in answers:
            for name, value in answer.headers.items():
                seen.setdefault(name, set()).add(value)
        return cls(_NEVER_COMPARED | {name for name, values in seen.items() if len(values) > 1})

    def of(self, answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
        headers = {
            name: value
            for name, value in answer.headers.items()
            if name not in self.ignored and not name.startswith(_RATES)
        }
        return answer.status_code, headers, answer.content

    def differs(self, answer: httpx.Response, other: httpx.Response) -> str | None:
        """What differs, in words; None when nothing does."""
        (status, headers, body), (status_, headers_, body_) = self.of(answer), self.of(other)
        if status != status_:
            return f"status {status} instead of {status_}"
        names = sorted(name for name in headers.keys() | headers_.keys() if headers.get(name) != headers_.get(name))
        if names:
            return f"header {', '.join(names)}"
        return "body" if body != body_ else None
