"""The page of guarantees names its proofs, and they exist."""

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "guide" / "guarantees.md").read_text(encoding="utf-8")
PROOF = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def functions_of(path: Path) -> set[str]:
    found = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_guarantee_names_tests_that_exist() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| **")]
    assert rows
    for row in rows:
        proofs = PROOF.findall(row)
        assert proofs, f"without a proof: {row}"
        for file, name in proofs:
            assert name in functions_of(REPOSITORY / "tests" / file), f"{file}::{name}"
