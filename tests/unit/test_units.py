"""The systemd units name what exists and leave S4 the time that it takes; tests/ops has systemd itself look at them."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from s4.entrypoints.cli.app import build
from s4.entrypoints.configuration import read_configuration
from s4.kernel.settings import Environment, Settings, secret_settings

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
PROGRAM = "/opt/s4/bin/s4"


def values(unit: Path, name: str, *, commented: bool = False) -> list[str]:
    """All lines `name=…`, on request also those that are proposed in comments."""
    start = "#?" if commented else ""
    return re.findall(rf"^{start}{name}=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)


def test_there_is_a_unit_for_each_way_to_run() -> None:
    assert [unit.name for unit in SERVICES] == [
        "s4-api.service", "s4-migrate.service", "s4-worker@.service", "s4.service",
    ]  # fmt: skip


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_unit_starts_a_command_that_exists_with_options_that_it_takes(unit: Path) -> None:
    (line,) = values(unit, "ExecStart")
    program, command, *arguments = shlex.split(line.replace("%i", "9464"))
    assert program == PROGRAM
    commands = typer.main.get_command(build()).commands  # type: ignore[attr-defined]
    commands[command].make_context(command, arguments)


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_unit_sets_only_variables_that_exist_and_hands_over_the_files_that_they_name(unit: Path) -> None:
    known = {f"S4_{name.upper()}" for name in Settings.model_fields} - {
        f"S4_{name.upper()}" for name in secret_settings()
    }
    known |= {f"S4_{name.upper()}_FILE" for name in secret_settings()} | {"S4_CONFIG"}
    credentials = {line.partition(":")[0] for line in values(unit, "LoadCredential", commented=True)}
    handed = set()
    for line in values(unit, "Environment", commented=True):
        name, _, value = line.partition("=")
        assert name in known
        if name.endswith("_FILE"):
            folder, _, credential = value.partition("/")
            assert folder == "%d"
            handed.add(credential)
    assert handed == credentials


@pytest.mark.parametrize(
    ("name", "children"), [("s4.service", True), ("s4-api.service", False), ("s4-worker@.service", False)]
)
def test_systemd_waits_longer_than_s4_takes_to_stop(name: str, children: bool) -> None:
    settings = read_configuration(file=UNITS / "s4.toml", environment="embedded").settings
    longest = settings.drain_seconds + settings.shutdown_seconds
    if children:
        longest += settings.shutdown_seconds + 5  # see serve.py: the worker child's own time, then five seconds
    (stop,) = values(UNITS / name, "TimeoutStopSec")
    assert float(stop) > longest
    assert values(UNITS / name, "KillMode") == ["mixed"]
    assert values(UNITS / name, "OOMPolicy") == ["continue"]


def test_the_settings_that_come_along_work_with_what_the_units_bring(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "admin-api-key").write_text("0123456789abcdef-0123456789abcdef\n")
    (tmp_path / "secret-key").write_text("fedcba9876543210-fedcba9876543210\n")
    (tmp_path / "database-url").write_text("postgresql://s4:secret@db.internal/s4\n")
    for line in values(UNITS / "s4-api.service", "Environment"):
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, value.replace("%d", str(tmp_path)).replace("%S", str(tmp_path)))
    monkeypatch.delenv("S4_CONFIG")
    loaded = read_configuration(file=UNITS / "s4.toml")
    assert loaded.settings.environment is Environment.PRODUCTION
    assert loaded.unknown == {}
