"""Writes the reference pages of this folder from the code that they describe: `make docs-reference`.

Each function returns one page as Markdown. `tests/unit/test_reference_pages.py` compares them with the committed
files, so that a setting, a metric, an error, a route or a command cannot change without its page.
"""

import ast
import dataclasses
import enum
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import typer.main
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr
from pydantic.fields import FieldInfo

import s4
from s4.domains.indexing import service as indexing_service
from s4.entrypoints.api import create_app
from s4.entrypoints.bootstrap import Core
from s4.entrypoints.cli import app as command_line
from s4.entrypoints.operations import ProcessState
from s4.entrypoints.upgrade import FORMATS
from s4.kernel import errors
from s4.kernel.settings import Secret, Settings
from s4.kernel.units import human_size, parse_size
from s4.platform.database import migrate
from s4.platform.http.routing import S4Route
from s4.platform.security.sealing import FORM as SEALED_FORM
from s4.platform.telemetry.events import CONTEXT, EVENTS, FIELDS, Event, keeping, serving
from s4.platform.telemetry.metrics import care, dependencies, pipeline, process, requests, searching, tenants
from s4.platform.telemetry.metrics.buckets import Read

HERE = Path(__file__).parent
_SOURCE = Path(s4.__file__).parent
_NOTE = "<!-- Written by docs/reference/generate.py. Change the code, then run `make docs-reference`. -->"
_SECTION = re.compile(r"^\s*# -- (.+)$")


def settings_page() -> str:
    """Every field of `Settings`, in the sections of its source."""
    page = [
        *_head("Settings"),
        *_prose("""Set in the environment under the name in the first column, or in a TOML file in lower case and
            without `S4_`; a few can be given as options of a command, which then win (see
            [configuration](../guide/configuration.md)). A secret may stand in a file of its own, whose path is set
            under the name with `_FILE` behind it. On machines below 8 GiB some defaults are lower (see [what follows
            from the machine](../guide/operations.md#what-follows-from-the-machine)). Sizes are bytes and may be
            written with a unit: `10 MiB`, `1.5GiB`,
            `512`."""),
    ]
    section: str | None = None
    for name, found in _by_section(Settings, list(Settings.model_fields)):
        if found != section:
            section = found
            page += ["", f"## {section.capitalize()}", ""]
            page += _table_head("setting", "type", "default", "meaning")
        field = Settings.model_fields[name]
        page.append(_row(f"`S4_{name.upper()}`", _type_name(field), _default(field), _meaning(field)))
    return _page(page)


def metrics_page() -> str:
    """Every metric of the catalogue."""
    page = [
        *_head("Metrics"),
        *_prose("""`GET /metrics` answers in Prometheus's text format. Of `s4 serve` every sample bears the label
            `process` (`api`, or `worker` for the worker that it runs); a worker of its own answers without it. Labels
            are bounded sets: there is none for a key or a path, and tenants are named in `s4_top_tenant_*` and by the
            exporter only. The client library adds `process_*` and `python_*`. Who answers where, and how several are
            added up: [metrics](../guide/metrics.md)."""),
    ]
    section: str | None = None
    for subject in (process, requests, dependencies, pipeline, searching, tenants, care):
        names = [name for name, value in vars(subject).items() if hasattr(value, "describe") and name.isupper()]
        for name, found in _by_section(subject, names):
            if found != section:
                section = found
                page += ["", f"## {section.capitalize()}", ""]
                page += _table_head("metric", "type", "labels", "meaning")
            page.append(_metric_row(vars(subject)[name]))
    return _page(page)


def events_page() -> str:
    """Every event of the log, and the glossary of their fields."""
    page = [
        *_head("Events of the log"),
        *_prose("""Each is one line: `event_type` is its name, and what is named under *details* stands in `details`, as
            far as it is known. What a line is, in which formats it comes, and where it goes:
            [the guide](../guide/logs.md). What libraries say is filed under their logger's name, with `message` and
            `exception`."""),
    ]
    section: str | None = None
    for module in (serving, keeping):
        for each, found in _events(module):
            if found != section:
                section = found
                page += ["", f"## {section.capitalize()}", ""]
                page += _table_head("event", "level", "details", "meaning", "what to do")
            named = ", ".join(f"`{name}`" for name in each.fields)
            page.append(_row(f"`{each.name}`", ", ".join(each.levels), named, each.meaning, each.do))
    page += [
        "",
        "## Fields",
        "",
        *_prose("""A name has the same type in every event. These may stand in any event of a
        job or a request, beside `tenant_id`, `request_id` and `trace_id`:"""),
        "",
    ]
    for glossary in (CONTEXT, FIELDS):
        page += ["", *_table_head("field", "type", "meaning")]
        page += [_row(f"`{name}`", _json_type(each.example), each.meaning) for name, each in sorted(glossary.items())]
    return _page(page)


def _metric_row(metric: Any) -> str:
    described = metric.describe()[0]
    suffix = "_total" if described.type == "counter" else ""
    labels = metric.labels if isinstance(metric, Read) else metric._labelnames
    named = ", ".join(f"`{label}`" for label in labels)
    return _row(f"`{described.name}{suffix}`", described.type, named, described.documentation)


def errors_page() -> str:
    """Classes, further codes that are raised, and the codes of failed documents."""
    page = [
        *_head("Errors"),
        *_prose("""Every answer that is not a success is `{"error": {"code", "message", "details"}}` and bears
            `X-Request-Id`. Programs look at `code`; `message` is for people and may change. 503 carries `Retry-After`
            in seconds."""),
        "",
        "## Codes of the API",
        "",
        *_table_head("code", "status", "class", "what the caller does"),
    ]
    answers = [cls for cls in _error_classes() if cls is not errors.DocumentRejected]
    page += [_row(f"`{each.code}`", str(each.status), f"`{each.__name__}`", _first_paragraph(each)) for each in answers]
    raised = sorted({call for call in _raised() if call[0] != errors.DocumentRejected.__name__})
    by_name = {cls.__name__: cls for cls in answers}
    for name, code, status, message in raised:
        page.append(_row(f"`{code}`", str(status or by_name[name].status), f"`{name}`", message))
    page += [
        "",
        *_prose("""A request whose fields do not fit the schema is a 422 `invalid_request` with `details.fields`. What
            `quota_exceeded` says of a plan's limits stands in [the guide](../guide/quotas.md)."""),
        "",
        "## Codes of failed documents",
        "",
        *_prose("""In `error.code` of a document whose `status` is `failed`. What to do about each stands in
            [the guide](../guide/documents.md#when-a-document-fails)."""),
        "",
        *_table_head("code", "an example of the message"),
    ]
    page += [_row(f"`{code}`", message) for code, message in document_codes().items()]
    return _page(page)


def document_codes() -> Mapping[str, str]:
    """The codes with which a document can end `failed`, each with a message that S4 writes."""
    found = {errors.DocumentRejected.code: ""}
    for name, code, _, message in sorted(_raised()):
        if name == errors.DocumentRejected.__name__:
            found[code] = found.get(code) or message
    others = (errors.DataCorrupt("The stored bytes are damaged."), errors.Unavailable(""), errors.S4Error(""))
    for error in others:
        code, message = indexing_service._explain(error)
        found[code] = message
    return dict(sorted(found.items()))


def routes_page() -> str:
    """Every route under its versioned path, with the permission that it declares."""
    page = [
        *_head("Routes"),
        *_prose("""The same routes answer under `/api` for the current major version. The full description, with every
            parameter and shape, is the OpenAPI document at `/openapi.json`, browsable at `/docs`. `public` needs no
            credential, `admin` the administrator's key in `X-Admin-Key`, everything else a tenant's key with that scope
            in `X-Tenant-Key` or as `Authorization: Bearer`."""),
        "",
        *_table_head("method", "path", "permission", "success", "what it does"),
    ]
    return _page(page + [_row(*route) for route in sorted(_routes(), key=lambda route: (route[1], route[0]))])


def cli_page() -> str:
    """Every command with its arguments and options."""
    page = [
        *_head("Command line"),
        *_prose("""`s4 --help`, and `--help` behind any command, say the same. In brackets: the environment variable
            that an option is taken from when it is not given."""),
    ]
    root = typer.main.get_command(command_line.build())
    for path, command in _commands("s4", root):
        page += ["", f"## `{path}`", "", _line(command.help or "")]
        rows = [_parameter(each) for each in command.params if not getattr(each, "hidden", False)]
        if rows:
            page += ["", *_table_head("argument or option", "default", "meaning"), *rows]
        if examples := (command.epilog or "").split("\n\n")[1:]:
            page += ["", "```bash", *examples, "```"]
    return _page(page)


def formats_page() -> str:
    """Every format in which something is stored."""
    page = [
        *_head("Stored formats"),
        *_prose("""What S4 stores bears the number of its format. This release reads the versions that are named here
            and writes the last of them. The bytes of documents are kept as they were uploaded and have no format; files
            of the index tables are LanceDB's, which numbers them itself, and can be made again."""),
        "",
        *_table_head("format", "where in the bucket", "versions that are read"),
        *(_row(each.name, each.where, ", ".join(map(str, each.reads))) for each in FORMATS),
        "",
        *_prose(f"""Secrets that S4 must read again are `{SEALED_FORM}.<key id>.<nonce and ciphertext>` wherever they
            stand (AES-256-GCM under a key derived from `S4_SECRET_KEY`). The catalog's schema has numbered steps, of
            which this release knows {migrate.steps()[-1].revision} as the last."""),
    ]
    return _page(page)


PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "events.md": events_page,
    "errors.md": errors_page,
    "routes.md": routes_page,
    "cli.md": cli_page,
    "formats.md": formats_page,
}


def main() -> None:
    """Writes all pages."""
    for name, make in PAGES.items():
        (HERE / name).write_text(make(), encoding="utf-8")


# -- settings and metrics


def _by_section(owner: Any, names: list[str]) -> Iterator[tuple[str, str]]:
    """Names in the order of the source, each with the `# -- section` comment that it stands under. A class's own come
    before those of the classes that it is made of."""
    section = "process"
    wanted = set(names)
    sources = [each for each in owner.__mro__ if each.__module__.startswith("s4.")] if owner is Settings else [owner]
    for line in "".join(map(inspect.getsource, sources)).splitlines():
        if match := _SECTION.match(line):
            section = match[1]
        elif (match := re.match(r"\s*([A-Za-z_]+)\s*[:=]", line)) and match[1] in wanted:
            wanted.discard(match[1])
            yield match[1], section
    assert not wanted, f"not found in the source: {wanted}"


def _type_name(field: FieldInfo) -> str:
    if any(isinstance(each, Secret) for each in field.metadata):
        return "secret"
    if typing.get_origin(field.annotation) is dict:
        return "JSON"
    members = [each for each in typing.get_args(field.annotation) if each is not types.NoneType]
    kind = members[0] if members else field.annotation
    if _is_size(field):
        return "size"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    if kind is bool:
        return "`true`, `false`"
    names = {str: "text", int: "whole number", float: "number", Path: "path", SecretStr: "secret"}
    return names[cast(type, kind)]


def _is_size(field: FieldInfo) -> bool:
    return any(getattr(each, "func", None) is parse_size for each in field.metadata)


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value == {}:
        return ""
    if _is_size(field):
        return f"`{human_size(value).replace('.0 ', ' ')}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value.value if isinstance(value, enum.Enum) else value}`"


def _meaning(field: FieldInfo) -> str:
    if field.description:
        return field.description
    is_enum = isinstance(field.annotation, type) and issubclass(field.annotation, enum.Enum)
    said = (field.annotation.__doc__ or "") if is_enum and field.annotation is not None else ""
    return said if "`" in said else ""


def _events(module: types.ModuleType) -> Iterator[tuple[Event, str]]:
    """In the order of the source, each with its section."""
    section = ""
    for line in inspect.getsource(module).splitlines():
        if match := _SECTION.match(line):
            section = match[1]
        elif match := re.match(r'    event\("([a-z_.]+)"', line):
            yield EVENTS[match[1]], section


def _json_type(example: object) -> str:
    names = {str: "text", int: "whole number", float: "number", list: "list", dict: "object"}
    return names[type(example)]


# -- errors


def _error_classes() -> Iterable[type[errors.S4Error]]:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.S4Error):
            yield value


def _raised() -> Iterator[tuple[str, str, int | None, str]]:
    """(class, code, status, message) of every place in the source that raises an error with a code of its own."""
    names = {cls.__name__ for cls in _error_classes()}
    for path in sorted(_SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names):
                continue
            said = {word.arg: word.value for word in node.keywords}
            code, status = said.get("code"), said.get("status")
            if isinstance(code, ast.Constant) and isinstance(code.value, str):
                number = status.value if isinstance(status, ast.Constant) else None
                yield node.func.id, code.value, cast(int | None, number), _message(node)


def _message(call: ast.Call) -> str:
    """The sentence, with an ellipsis where it is filled in when it is raised."""
    first = call.args[0] if call.args else ast.Constant("")
    if isinstance(first, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in first.values)
    return str(first.value) if isinstance(first, ast.Constant) else ""


# -- routes


def _routes() -> Iterator[tuple[str, str, str, str, str]]:
    # Making the routes calls no service, so the application can be described without a catalog or a store.
    services = {part.name: None for part in dataclasses.fields(Core)}
    core = types.SimpleNamespace(**services | {"settings": Settings(), "embedder": None})
    app = create_app(cast(Core, core), ProcessState())
    for route in iter_route_contexts(app.routes):
        original = route.original_route
        path = str(route.path_format)
        if not isinstance(original, S4Route) or (path.startswith("/api/") and not path.startswith("/api/v1/")):
            continue
        summary = _line(inspect.getdoc(original.endpoint) or "")
        for method in sorted(original.methods or ()):
            permission = f"`{original.s4_permission.value}`"
            yield f"`{method}`", f"`{path}`", permission, str(original.status_code or 200), summary


# -- command line


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name in sorted(inner):
        if not inner[name].hidden:
            yield from _commands(f"{path} {name}", inner[name])


def _parameter(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    flags = [*parameter.opts, *parameter.secondary_opts]
    name = f"`{parameter.name.upper()}`" if is_argument else ", ".join(f"`{flag}`" for flag in flags)
    if parameter.envvar:
        name += f" (`{parameter.envvar}`)"
    shown = getattr(parameter, "show_default", None)
    default = shown if isinstance(shown, str) else parameter.default
    plain = isinstance(default, (str, int, float)) and not isinstance(default, bool)
    required = "required" if parameter.required else ""
    return _row(name, f"`{default}`" if plain and default != "" else required, getattr(parameter, "help", None) or "")


# -- Markdown


def _head(title: str) -> list[str]:
    return [_NOTE, "", f"# {title}", ""]


def _table_head(*columns: str) -> list[str]:
    return [_row(*columns), "|" + "---|" * len(columns)]


def _row(*cells: str) -> str:
    return "| " + " | ".join(_line(cell).replace("|", "\\|") for cell in cells) + " |"


def _line(text: str) -> str:
    return " ".join(text.split())


def _prose(text: str) -> list[str]:
    return textwrap.wrap(_line(text), 118, break_long_words=False, break_on_hyphens=False)


def _first_paragraph(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\n\n")[0]


def _page(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
