"""The limits page names every figure as the code has it, and every bound that an operator can move."""

import importlib
import re
from pathlib import Path

from s4.kernel.settings import Settings
from s4.kernel.units import human_size

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "limits.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| `([\w.]+)` \| ([^|]+) \|$", re.MULTILINE)
UNITS = {"seconds": " s", "hours": " h"}
NOT_OF_STRANGERS = {
    # The provider's and the search's own affairs; `settings.md` explains them.
    "index_handles_max", "job_backoff_max_seconds", "store_retries_max", "embedding_retries_max", "chunk_tokens_max",
    "embedding_probe_seconds_max",
}  # fmt: skip


def rows() -> dict[str, str]:
    """Setting or constant, and the figure that the page gives."""
    found = {name: figure for _, figure, name, _ in ROW.findall(PAGE)}
    assert len(found) > 30, "the table's form has changed"
    return found


def shown(name: str, value: float) -> str:
    if name.endswith(("bytes", "bytes_max")):
        return human_size(int(value)).replace(".0 ", " ")
    unit = next((sign for word, sign in UNITS.items() if word in name), "")
    return f"{value:g}{unit}" if isinstance(value, float) else f"{value}{unit}"


def test_every_setting_on_the_page_has_the_figure_of_the_code() -> None:
    defaults = {f"S4_{name.upper()}": shown(name, field.default) for name, field in Settings.model_fields.items()
                if isinstance(field.default, int | float)}  # fmt: skip
    named = {name: figure for name, figure in rows().items() if name.startswith("S4_")}
    assert named == {name: defaults[name] for name in named}


def test_every_fixed_limit_on_the_page_has_the_figure_of_the_code() -> None:
    fixed = {name: figure for name, figure in rows().items() if not name.startswith("S4_")}
    actual = {}
    for name in fixed:
        module, _, constant = name.rpartition(".")
        actual[name] = f"{getattr(importlib.import_module(f's4.{module}'), constant):,}"
    assert fixed == actual


def test_every_bound_of_what_a_stranger_sends_is_on_the_page() -> None:
    bounds = {name for name in Settings.model_fields if name.endswith("_max") or "_max_" in name} - NOT_OF_STRANGERS
    assert {f"S4_{name.upper()}" for name in bounds} <= set(rows())


def test_the_limit_codes_say_what_to_do() -> None:
    for code in ("resource_limit", "too_many_pages", "text_too_long"):
        assert re.search(rf"^\| `{code}` \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE)
