"""A asks for what is B's, by every id that a route takes, and is answered as for what never was."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from s4.entrypoints.verification.declared import NEVER
from s4.entrypoints.verification.matrix import Route
from s4.entrypoints.verification.report import Check, Report
from s4.entrypoints.verification.scene import Scene

_PUBLIC_PAGES = ("/metrics", "/openapi.json", "/docs", "/nothing")


def anothers_ids(scene: Scene, report: Report) -> None:
    claim = (
        "by every id that a route takes, what is B's answers to A byte for byte as what never was, and stays as it is"
    )
    with report.check("another's ids", claim) as check:
        before = scene.state_of_b()
        check.gaps += scene.gaps
        for route in scene.matrix.of_tenants:
            assert route.call is not None
            if not route.parameters or route.call.creates:
                continue
            for ids in _combinations(scene, route, check):
                for alias in (False, True):
                    _expect_as_if_never(scene, check, route, ids, alias=alias)
        scene.expect_untouched(check, before)


def _combinations(scene: Scene, route: Route, check: Check) -> Iterator[Mapping[str, str]]:
    """Each id B's, and beside it others that are A's or B's: a route that looks at one of two ids is found out."""
    lacking = [name for name in route.parameters if name not in scene.b.things]
    if lacking:
        check.gaps.append(f"{route.name}: B has no {', '.join(lacking)} to be asked for")
        return
    for owners in itertools.product((scene.b, scene.a), repeat=len(route.parameters)):
        if scene.b in owners:
            yield {name: owner.things[name] for name, owner in zip(route.parameters, owners, strict=True)
                   if name in owner.things}  # fmt: skip


def _expect_as_if_never(scene: Scene, check: Check, route: Route, ids: Mapping[str, str], *, alias: bool) -> None:
    assert route.call is not None
    nobodys = {name: NEVER[name] if id_ == scene.b.things[name] else id_ for name, id_ in ids.items()}
    answer = scene.a.caller.call(route, ids, alias=alias)
    absent = scene.a.caller.call(route, nobodys, alias=alias)
    if route.call.echoes:
        for name, id_ in ids.items():
            answer._content = answer.content.replace(id_.encode(), nobodys[name].encode())
    else:
        said = f"{route.name} answered {answer.status_code} to A about what is B's"
        check.expect(answer.status_code == 404, said, route=route)
    differs = scene.comparison.differs(answer, absent)
    check.expect(differs is None, f"{route.name} tells what is B's from what never was: {differs}", route=route)


def conditions(scene: Scene, report: Report) -> None:
    with report.check("conditions", "preconditions, ranges and waiting do not betray what is B's") as check:
        before = scene.state_of_b()
        target, absent = (f"/api/v1/documents/{each['document_id']}" for each in (scene.b.things, NEVER))
        tries: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", "/download", {"headers": {"Range": "bytes=0-0"}}),
            ("GET", "/download", {"headers": {"Range": "bytes=999999-"}}),
            ("GET", "/download", {"headers": {"If-None-Match": "*"}}),
            ("GET", "/download", {"headers": {"If-None-Match": '"r1"'}}),
            ("HEAD", "/download", {"headers": {"If-None-Match": "*"}}),
            ("DELETE", "", {"headers": {"If-Match": '"r1"'}}),
            ("DELETE", "", {"headers": {"If-Match": '"r9"'}}),
            ("PATCH", "/metadata", {"json": {}, "headers": {"If-Match": '"r9"'}}),
            ("GET", "", {"params": {"wait": 0.1}}),
        ]
        for method, rest, options in tries:
            theirs = scene.a.caller.ask(method, target + rest, **options)
            nobodys = scene.a.caller.ask(method, absent + rest, **options)
            differs = scene.comparison.differs(theirs, nobodys)
            same = theirs.status_code == 404 and differs is None
            check.expect(same, f"{method} …{rest} with {options} answered {theirs.status_code}; differs: {differs}")
        scene.expect_untouched(check, before)


def every_byte(scene: Scene, report: Report) -> None:
    """Last, so that it hears everything that was ever said."""
    claim = "no route tells A a word, id or key of B's, whether it is asked about A's things, B's or nobody's"
    with report.check("every byte", claim) as check:
        before, statuses = scene.state_of_b(), set()
        public = tuple(route for route in scene.matrix.known if route.is_public)
        for route in (*public, *scene.matrix.of_tenants):
            assert route.call is not None
            for owner, alias in itertools.product(("A", "B", "nobody"), (False, True)):
                if owner == "B" and route.call.creates:
                    continue  # looked at by itself
                if owner == "A" and route.method not in ("GET", "HEAD"):
                    scene.renew(route)
                ids = {**NEVER, **({"A": scene.a.things, "B": scene.b.things}.get(owner) or {})}
                heard = len(scene.ear.heard)
                statuses.add(scene.a.caller.call(route, ids, alias=alias).status_code)
                said = f"{route.name} about {owner}'s things: {'; '.join(scene.ear.heard[heard:])}"
                check.expect(len(scene.ear.heard) == heard, said, route=route)
        for path in _PUBLIC_PAGES:
            scene.a.caller.ask("GET", path)
            scene.stranger.ask("GET", path)
        lacking = {200, 201, 204, 404} - statuses
        check.expect(not lacking, f"no route answered {lacking}: the verifier asks wrongly, so nothing is shown")
        check.expect(not scene.ear.heard, "of all answers: " + "; ".join(dict.fromkeys(scene.ear.heard)))
        check.figures["answers searched for B's words"] = scene.ear.answers
        scene.expect_untouched(check, before)
