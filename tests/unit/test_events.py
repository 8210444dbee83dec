"""The catalogue of the log's events, held against every call in the source."""

import ast
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import s4
from s4.entrypoints.cli import app
from s4.kernel.settings import LogFormat
from s4.platform.telemetry.events import CONTEXT, EVENTS, FIELDS
from tests.factories.events import KEYS, details, every_event

_SOURCE = Path(s4.__file__).parent
_METHODS = {"debug", "info", "warning", "error", "exception", "log"}
_ARGUMENTS = {"exc_info": "exception"}  # what becomes of an argument in the line
_CONTEXT_OF_ALL = {"tenant_id", "request_id", "trace_id"}
_WRITTEN_OTHERWISE = {"logs.record_lost"}  # by the handler, when a call of a library is broken


class Misuse(AssertionError):
    """A log call that the catalogue does not know."""


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, set[str], set[str], set[str]]]:
    """(call, names of events, levels, fields) of every log call. Raises `Misuse` where it cannot be read."""
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            is_log = isinstance(child, ast.Name) and child.id == "log" and isinstance(child.ctx, ast.Load)
            if is_log and not (isinstance(node, ast.Attribute) and node.attr in _METHODS):
                raise Misuse(f"line {node.lineno}: `log` is used for something else than a line")
            if isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name) and child.value.id == "log":
                if not isinstance(node, ast.Call) or node.func is not child:
                    raise Misuse(f"line {child.lineno}: a method of `log` goes somewhere else")
                yield read(node, child.attr)


def read(call: ast.Call, method: str) -> tuple[ast.Call, set[str], set[str], set[str]]:
    arguments = list(call.args)
    if method == "log":
        levels = {name.lower() for name in ends(arguments.pop(0))}
    else:
        levels = {"error" if method == "exception" else method}
    if len(arguments) != 1 or any(word.arg is None for word in call.keywords):
        raise Misuse(f"line {call.lineno}: name the event and each field")
    fields = {_ARGUMENTS.get(str(word.arg), str(word.arg)) for word in call.keywords}
    if method == "exception":
        fields.add("exception")
    return call, ends(arguments[0]), levels, fields - _CONTEXT_OF_ALL


def ends(node: ast.expr) -> set[str]:
    """What an expression can be: a constant, a name of `logging`, or one of several by conditions."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.Attribute(value=ast.Name(id="logging"), attr=name):
            return {name}
        case ast.IfExp(body=body, orelse=orelse):
            return ends(body) | ends(orelse)
        case ast.Name(id="level"):
            return {"any"}
        case _:
            raise Misuse(f"line {node.lineno}: an event's name stands where it is written")


def check(tree: ast.AST, path: str = "") -> dict[str, tuple[set[str], set[str]]]:
    """Event to (levels, fields) that are written. Raises `Misuse`."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for call, names, levels, fields in calls(tree):
        for name in names:
            if (known := EVENTS.get(name)) is None:
                raise Misuse(f"{path}:{call.lineno}: {name} is not in the catalogue")
            if len(names) == 1 and not levels <= {*known.levels, "any"}:
                raise Misuse(f"{path}:{call.lineno}: {name} is {known.levels} in the catalogue, not {levels}")
            if not fields <= {*known.fields}:
                raise Misuse(f"{path}:{call.lineno}: {name} has no fields {fields - {*known.fields}}")
            seen = found.setdefault(name, (set(), set()))
            seen[0].update(levels)
            seen[1].update(fields)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("get_logger", "getLogger")):
            outside_of_the_catalogue(node, tree, path)
    return found


def outside_of_the_catalogue(node: ast.Call, tree: ast.AST, path: str) -> None:
    """A logger that is bound to another name than `log`, so that its calls would not be seen."""
    if path == "platform/telemetry/logs.py" and ast.unparse(node.func) == "logging.getLogger":
        return  # it sets them up
    if not any(
        isinstance(each, ast.Assign) and each.value is node and ast.unparse(each.targets[0]) == "log"
        for each in ast.walk(tree)
    ):
        raise Misuse(f"{path}:{node.lineno}: bind the logger to `log`")


def sources() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(_SOURCE.rglob("*.py")):
        yield str(path.relative_to(_SOURCE)), ast.parse(path.read_text(encoding="utf-8"))


def test_every_log_call_is_in_the_catalogue_and_nothing_else_is() -> None:
    found: dict[str, tuple[set[str], set[str]]] = {}
    for path, tree in sources():
        for name, (levels, fields) in check(tree, path).items():
            seen = found.setdefault(name, (set(), set()))
            seen[0].update(levels)
            seen[1].update(fields)

    assert set(EVENTS) - set(found) == _WRITTEN_OTHERWISE
    for name, (levels, fields) in found.items():
        assert fields == set(EVENTS[name].fields), f"{name} never has all fields of the catalogue"
        assert "any" in levels or set(EVENTS[name].levels) <= levels, name


@pytest.mark.parametrize(
    "source",
    [
        'log.info("nobody.knows_it")',
        'log.error("api.stopped")',
        'log.info("api.stopped", seconds=1)',
        'log.info(f"api.{what}")',
        'log.info("api.started", **details)',
        'log.info("api.stopped", 1)',
        'event = log.info\nevent("api.stopped")',
        "tell(log)",
        'log.bind(a=1).info("api.stopped")',
        'logger = structlog.get_logger()\nlogger.info("x")',
        'logging.getLogger("s4").info("x")',
        'structlog.get_logger().info("api.stopped")',
    ],
)
def test_a_call_outside_of_it_is_found(source: str) -> None:
    with pytest.raises(Misuse):
        check(ast.parse(source))


def test_names_follow_the_house_rules() -> None:
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", name) for name in EVENTS)
    assert all(event.meaning.endswith(".") and event.do.endswith(".") for event in EVENTS.values())
    used = {name for event in EVENTS.values() for name in event.fields}
    assert used == set(FIELDS), "the glossary has each field that is used, and no other"
    assert not used & set(CONTEXT)


def test_no_field_of_the_catalogue_is_taken_for_a_secret() -> None:
    for name, line in every_event(LogFormat.JSON).items():
        event = json.loads(line)
        assert set(event) == KEYS
        assert event["details"] == details(EVENTS[name])


def test_commands_that_it_names_exist() -> None:
    root: Any = typer.main.get_command(app.build())
    for event in EVENTS.values():
        for command in re.findall(r"`s4 ([a-z -]+)`", event.do + event.meaning):
            node = root
            for word in command.split():
                node = getattr(node, "commands", {}).get(word)
                assert node is not None, f"{event.name} names `s4 {command}`, which does not exist"


def test_levels_are_known() -> None:
    known = set(logging.getLevelNamesMapping())
    assert all({level.upper() for level in event.levels} <= known for event in EVENTS.values())
