"""The registry of fail-points: the code's, no more and no less, and nobody arms what does not exist."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from s4.domains.documents import DocumentChain
from s4.domains.tenants import TenantChain
from s4.entrypoints.cli.app import run
from s4.kernel.errors import InvalidRequest
from s4.platform import faults
from s4.platform.chains import RecordChain
from tests.unit.test_house import last_name, modules

KINDS = (DocumentChain.steps, TenantChain.steps, RecordChain.steps)
SENTENCE = re.compile(r"[A-Z].*[^.]\.")


def names(call: ast.Call) -> list[str]:
    """Those that a call may pass: an f-string begins with the kind of a chain."""
    (argument,) = call.args
    match argument:
        case ast.Constant(str(name)):
            return [name]
        case ast.JoinedStr([ast.FormattedValue(ast.Attribute(attr="steps")), ast.Constant(str(rest))]):
            return [f"{kind}{rest}" for kind in KINDS]
    raise AssertionError(f"a fail-point must be named so that it can be found: {ast.unparse(call)}")


def called() -> Iterator[str]:
    for path, tree in modules():
        if path == "s4/platform/faults.py":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and last_name(node.func) == "failpoint":
                yield from names(node)


def test_the_registry_is_what_the_code_passes_each_at_one_place() -> None:
    found = Counter(called())
    assert set(found) == set(faults.FAILPOINTS)
    assert set(found.values()) == {1}


def test_every_fail_point_says_in_a_sentence_what_has_happened() -> None:
    assert [text for text in faults.FAILPOINTS.values() if not SENTENCE.fullmatch(text)] == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("upload.opend=exit", "'upload.opend', which is no fail-point"),
        ("upload.opened", "upload.opened=, followed by one of: exit, raise, stop"),
        ("upload.opened=exit,index.written=explode", "index.written=, followed by one of"),
    ],
)
def test_what_does_not_exist_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(complaint)):
        faults.parse(text)


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_no_process_starts_with_a_fail_point_that_does_not_exist(
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    monkeypatch.setenv("S4_FAILPOINTS", "no.such_step=exit")
    assert run([command, "--data-dir", str(tmp_path_factory.mktemp("data"))]) == 1
    assert "no fail-point" in capsys.readouterr().err
