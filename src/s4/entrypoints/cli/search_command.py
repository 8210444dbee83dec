"""`s4 search`."""

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4.entrypoints.cli.options import (
    DEFAULT_URL,
    CaFile,
    Json,
    Server,
    TenantKey,
    Url,
    WrongUsage,
    examples,
    scalar,
    tenant_client,
)
from s4.entrypoints.cli.output import console, harmless, print_json, print_line, print_note

if TYPE_CHECKING:
    from rich.text import Text

    from s4client import Passage, SearchResults

EXCERPT_CHARS = 400
"""Enough to judge a passage by, and five results still fit a screen."""

_OPERATORS = {
    "=": "eq", "!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte", "~": "contains", "^=": "prefix",
}  # fmt: skip
_CONDITION = re.compile(r"([^=<>!~^]+)(!=|>=|<=|\^=|=|>|<|~)(.*)", re.DOTALL)


class Mode(StrEnum):
    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        epilog=examples(
            "s4 search 'how did revenue develop'",
            "s4 search tides --filter 'year>=2020' --filter team=sales",
            "s4 search E-4711 --mode keyword --limit 1 --passages 3",
        )
    )(search)


def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    mode: Annotated[Mode, typer.Option(help="By meaning, by keyword, or both.")] = Mode.HYBRID,
    limit: Annotated[int, typer.Option(min=1, help="Most documents to answer.")] = 5,
    passages: Annotated[int, typer.Option(min=1, help="Most passages of each.")] = 1,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Only results of at least this score.")] = 0.0,
    category: Annotated[list[str] | None, typer.Option(help="Only these categories. Repeatable.")] = None,
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            help="Condition on metadata: 'year>=2020', with = != > >= < <= ~ (contains) ^= (prefix). All must hold.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Find documents by what they say."""
    if not query.strip():
        raise WrongUsage("Say what to look for.")
    conditions = [parse_condition(condition) for condition in filter_ or ()]
    with tenant_client(Server(url, tenant_key, ca_file)) as s4:
        found = s4.search(
            query,
            mode=mode.value,
            limit=limit,
            min_score=min_score,
            categories=category or None,
            filters={"and": conditions} if conditions else None,
            chunks_per_document=passages,
        )
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _print(found)


def parse_condition(text: str) -> dict[str, Any]:
    """`year>=2020` is `{"field": "year", "op": "gte", "value": 2020}`."""
    match = _CONDITION.fullmatch(text)
    if match is None or not match[1].strip():
        raise typer.BadParameter(f"{text!r} is not a condition such as year>=2020.", param_hint="--filter")
    return {"field": match[1].strip(), "op": _OPERATORS[match[2]], "value": scalar(match[3].strip())}


def _print(found: "SearchResults") -> None:
    if found.degraded:
        print_note("Meaning could not be compared just now: these are results by keyword.")
    if not found.results:
        print_line("Nothing found.")
        return
    from rich.padding import Padding
    from rich.text import Text

    out = console()
    for result in found.results:
        title = Text(f"{result.score:.3f}  ")
        title.append(harmless(result.key or result.filename), style="bold")
        title.append(f"  {harmless(result.document_id)}", style="dim")
        out.print(title, soft_wrap=True)
        for passage in result.chunks:
            place = _place(passage)
            if place:
                out.print(Text(f"       {place}", style="italic"), soft_wrap=True)
            text = marked(passage, in_bold=out.is_terminal)
            if out.is_terminal:
                out.print(Padding(text, (0, 0, 0, 7)))
            else:
                out.print(Text("       ") + text, soft_wrap=True)


def _place(passage: "Passage") -> str:
    page = f"p. {passage.page}" if passage.page is not None else ""
    return " · ".join(filter(None, (page, harmless(passage.heading or ""))))


def marked(passage: "Passage", *, in_bold: bool) -> "Text":
    """The passage around its first highlight. Highlights are bold, or between asterisks."""
    from rich.text import Text

    text = harmless(passage.text)
    first = min((start for start, _ in passage.highlights), default=0)
    begin = max(0, min(first - EXCERPT_CHARS // 4, len(text) - EXCERPT_CHARS))
    end = min(len(text), begin + EXCERPT_CHARS)
    excerpt = Text("…" if begin else "")
    position = begin
    for start, stop in sorted(passage.highlights):
        start, stop = max(start, position), min(stop, end)
        if start >= stop:
            continue
        excerpt.append(text[position:start])
        word = text[start:stop]
        excerpt.append(word, style="bold yellow") if in_bold else excerpt.append(f"*{word}*")
        position = stop
    excerpt.append(text[position:end])
    excerpt.append("…" if end < len(text) else "")
    return excerpt
