"""systemd reads the units without a complaint and finds little that they leave open. Needs Debian's `systemd`."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ops

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
EXPOSURE_MAX = 15
"""Of 100 tenths: a server cannot do without the network, which alone is 11."""


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units, with a program that exists on this machine, and the template as one of its instances."""
    program = Path(sys.executable).with_name("s4")
    for unit in UNITS.glob("*.service"):
        text = unit.read_text(encoding="utf-8").replace("/opt/s4/bin/s4", str(program))
        (tmp_path / unit.name.replace("@.", "@9464.")).write_text(text, encoding="utf-8")
    return sorted(tmp_path.glob("*.service"))


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_reads_the_units_without_a_complaint(units: list[Path]) -> None:
    assert len(units) == 4
    done = analyze("verify", *map(str, units))
    assert (done.returncode, [line for line in done.stderr.splitlines() if "/s4" in line]) == (0, [])


def test_the_sandbox_leaves_little_open(units: list[Path]) -> None:
    for unit in units:
        done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(unit))
        assert done.returncode == 0, f"{unit.name}\n{done.stdout}"
