"""Who is let in: wrong keys, keys with one scope, keys that have ended, suspended tenants, roles."""

import base64
import secrets
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import httpx

from s4.entrypoints.verification.callers import ADMIN_KEY, TENANT_KEY, Caller, CannotVerify
from s4.entrypoints.verification.declared import NEVER, PUBLIC
from s4.entrypoints.verification.matrix import VERSIONED, Route, reasons_unknown
from s4.entrypoints.verification.report import Check, Report
from s4.entrypoints.verification.scene import NAME, Scene
from s4.kernel.permissions import TENANT_SCOPES, AdminRole, Permission
from s4.platform.security import credentials

_ADMINS = f"{VERSIONED}/admin/"
_EXPIRES_IN = timedelta(seconds=2)
_EXPIRED_SECONDS_MAX = 30.0  # with clocks that differ by so much, other things break first
_PREFIX_BYTES = 8  # of which a key's prefix is the first sixty bits


def routes_are_known(scene: Scene, report: Report) -> None:
    with report.check(
        "routes", "every route declares one permission, and is public only if it is meant to be"
    ) as check:
        for route in scene.matrix.routes:
            check.gaps += [f"{route.name}: {reason}" for reason in reasons_unknown(route)]
            declares = route.is_public or route.is_tenants or route.is_admins
            check.expect(declares, f"{route.name} declares no permission", route=route)
            if route.call is None:
                check.expect(not route.is_public, f"{route.name} is public, and not known to be", route=route)
                continue
            meant = route.name in PUBLIC
            check.expect(route.is_public == meant, f"{route.name} is public: {route.is_public}", route=route)
            admins = route.path.startswith(_ADMINS)
            check.expect(
                route.is_admins == admins, f"{route.name} is an administrator's: {route.is_admins}", route=route
            )


def wrong_credentials(scene: Scene, report: Report) -> None:
    claim = (
        "every route that is not public refuses no key, a malformed, an unknown, a guessed and the other kind of key"
    )
    with report.check("credentials", claim) as check:
        before = scene.state_of_b()
        ids = {**NEVER, **scene.b.things}
        for route in (*scene.matrix.of_tenants, *scene.matrix.of_admins):
            answers = {}
            for what, headers in _wrong(scene, route):
                for alias in (False, True):
                    answer = scene.stranger.call(route, ids, alias=alias, patient=False, headers=headers)
                    _expect_refused(check, route, answer, what)
                    answers[what] = answer
            unknown, guessed = answers["an unknown key"], answers["a guess at B's key"]
            if unknown.status_code == guessed.status_code == 401:
                differs = scene.comparison.differs(guessed, unknown)
                said = f"{route.name} tells a guess at a key from an unknown one: {differs}"
                check.expect(differs is None, said, route=route)
        scene.expect_untouched(check, before)


def _wrong(scene: Scene, route: Route) -> Iterator[tuple[str, Mapping[str, str]]]:
    header = ADMIN_KEY if route.is_admins else TENANT_KEY
    unknown = credentials.mint(secrets.token_bytes).plaintext
    yield "no key", {}
    yield "a malformed key", {TENANT_KEY: "nonsense"}
    yield "a malformed administrator's key", {ADMIN_KEY: "nonsense"}
    yield "an unknown key", {header: unknown}
    yield "a guess at B's key", {header: guess_at(scene.b.api_key)}
    yield "the administrator's key as a tenant's", {TENANT_KEY: scene.admin_key}
    yield "the administrator's key as a bearer's", {"Authorization": f"Bearer {scene.admin_key}"}
    yield "a tenant's key as the administrator's", {ADMIN_KEY: scene.b.api_key}
    if route.is_admins:
        yield "a tenant's key", {TENANT_KEY: scene.b.api_key}
    else:
        yield "the administrator's key", {ADMIN_KEY: scene.admin_key}


def guess_at(key: str) -> str:
    """A key with the public part of `key` and another secret."""
    parsed = credentials.parse(key)
    if parsed is None:
        raise CannotVerify("The keys of this deployment have a form that this release's verifier does not know.")
    # A prefix has sixty of the sixty-four bits that it is made from.
    known = base64.b32decode(parsed.prefix.upper() + "A===")[:_PREFIX_BYTES]
    return credentials.mint(lambda count: known if count == _PREFIX_BYTES else secrets.token_bytes(count)).plaintext


def _expect_refused(check: Check, route: Route, answer: httpx.Response, what: str) -> None:
    """401; a guess after many may be told to wait instead."""
    refused = answer.status_code in (401, 429) and _code(route, answer) in ("unauthorized", "rate_limited")
    check.expect(refused, f"{route.name} answered {answer.status_code} to {what}", route=route)


def _code(route: Route, answer: httpx.Response) -> str | None:
    """An error's code. `HEAD` has no body to say it in."""
    if route.method == "HEAD":
        return {401: "unauthorized", 403: "forbidden", 429: "rate_limited"}.get(answer.status_code)
    try:
        return str(answer.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return None


def _lacks_scope(route: Route, answer: httpx.Response) -> bool:
    """403, because of the route's own scope."""
    if answer.status_code != 403 or route.method == "HEAD":
        return answer.status_code == 403
    error = answer.json()["error"]
    return bool(error["code"] == "forbidden" and error["details"].get("required_scope") == route.permission)


# -- keys with fewer scopes, and keys that have ended


def missing_scopes(scene: Scene, report: Report) -> None:
    with report.check("scopes", "a key with one scope opens the routes of that scope and no other") as check:
        if scene.matrix.get("POST /api/v1/keys") is None:
            check.absent.append("it has no POST /api/v1/keys to mint keys of one scope with")
            return
        for scope in sorted(TENANT_SCOPES):
            caller = _with_key(scene, _minted(scene, [scope]))
            for route in scene.matrix.of_tenants:
                answer = caller.call(route, NEVER)
                said = f"{route.name} answered {answer.status_code} to a key with the scope {scope.value} alone"
                opens = answer.status_code != 401 and not _lacks_scope(route, answer)
                check.expect(opens if route.permission == scope else _lacks_scope(route, answer), said, route=route)


def ended_keys(scene: Scene, report: Report) -> None:
    with report.check("ended keys", "a key that was revoked or has expired opens nothing") as check:
        revoke = scene.matrix.get("DELETE /api/v1/keys/{prefix}")
        if scene.matrix.get("POST /api/v1/keys") is None or revoke is None:
            check.absent.append("it has no routes to mint and revoke keys")
            return
        scopes = sorted(TENANT_SCOPES)
        revoked = _minted(scene, scopes)
        expired = _minted(scene, scopes, expires_at=datetime.now(UTC) + _EXPIRES_IN)
        _expect_open(scene, check, revoked, expired)
        answer = scene.c.caller.call(revoke, {"prefix": revoked["prefix"]})
        check.expect(answer.status_code == 204, f"{revoke.name} answered {answer.status_code}", route=revoke)
        _await_end(_with_key(scene, expired))
        for what, key in (("a revoked key", revoked), ("an expired key", expired)):
            for route in scene.matrix.of_tenants:
                _expect_refused(check, route, _with_key(scene, key).call(route, NEVER), what)


def _expect_open(scene: Scene, check: Check, *keys: Mapping[str, str]) -> None:
    """Else their refusal afterwards would show nothing."""
    for key in keys:
        answer = _with_key(scene, key).ask("GET", "/api/v1/documents")
        check.expect(answer.status_code == 200, f"a key that is in force was answered {answer.status_code}")


def _await_end(caller: Caller) -> None:
    deadline = time.monotonic() + _EXPIRED_SECONDS_MAX
    while caller.ask("GET", "/api/v1/documents").status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.1)  # a clock that ticks cannot be awaited


def _minted(scene: Scene, scopes: list[Permission], *, expires_at: datetime | None = None) -> Mapping[str, str]:
    asked: dict[str, object] = {"name": f"{NAME} {scene.run}", "scopes": [scope.value for scope in scopes]}
    if expires_at is not None:
        asked["expires_at"] = expires_at.isoformat()
    made: Mapping[str, str] = scene.got(scene.c.caller.ask("POST", "/api/v1/keys", json=asked))
    return made


def _with_key(scene: Scene, key: Mapping[str, str]) -> Caller:
    return Caller(scene.http, {TENANT_KEY: key["api_key"]}, word=scene.c.caller.word, ear=scene.ear)


# -- a suspended tenant


def suspended(scene: Scene, report: Report) -> None:
    with report.check("suspended", "a suspended tenant's key opens nothing, and says that it is suspended") as check:
        suspend = scene.matrix.get("POST /api/v1/admin/tenants/{tenant_id}/suspend")
        if suspend is None:
            check.absent.append(f"it has no {_ADMINS}tenants/{{tenant_id}}/suspend")
            return
        tenant = scene.c
        answer = tenant.caller.ask("GET", "/api/v1/documents")
        check.expect(answer.status_code == 200, f"before its suspension C was answered {answer.status_code}")
        scene.got(scene.admin.call(suspend, {"tenant_id": tenant.id}))
        for route in scene.matrix.of_tenants:
            answer = tenant.caller.call(route, NEVER)
            refused = answer.status_code == 403 and _code(route, answer) in ("tenant_suspended", "forbidden")
            check.expect(refused, f"{route.name} answered {answer.status_code} to a suspended tenant", route=route)


# -- administrators by role


def administrators(scene: Scene, report: Report) -> None:
    with report.check(
        "administrators", "an administrator does what the role allows, and nothing once revoked"
    ) as check:
        create = scene.matrix.get("POST /api/v1/admin/administrators")
        revoke = scene.matrix.get("DELETE /api/v1/admin/administrators/{name}")
        if create is None or revoke is None:
            check.absent.append(f"it has no {_ADMINS}administrators to make others with")
            return
        for role in (AdminRole.AUDITOR, AdminRole.OPERATOR):
            name = f"s4-verify-{scene.run}-{role.value}"
            made = scene.got(scene.admin.ask("POST", create.path, json={"name": name, "role": role.value}))
            scene.administrators.append(name)
            caller = Caller(scene.http, {ADMIN_KEY: made["api_key"]}, word=scene.admin.word)
            _expect_role(scene, check, caller, role)
            answer = scene.admin.call(revoke, {"name": name})
            check.expect(answer.status_code == 204, f"{revoke.name} answered {answer.status_code}", route=revoke)
            scene.administrators.remove(name)
            for route in scene.matrix.of_admins:
                _expect_refused(check, route, caller.call(route, NEVER, patient=False), "a revoked administrator")


def _expect_role(scene: Scene, check: Check, caller: Caller, role: AdminRole) -> None:
    for route in scene.matrix.of_admins:
        may = Permission(route.permission or "") in role.permissions
        if may and route.method != "GET":
            continue  # it would be done
        answer = caller.call(route, NEVER)
        refused = answer.status_code == 403 and _code(route, answer) == "forbidden"
        said = f"{route.name} answered {answer.status_code} to the role {role.value}"
        check.expect(refused != may and answer.status_code != 401, said, route=route)
