"""Whoever deploys S4 by its documents alone sees what they show. Of a cluster: `tests/ops`."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.factories.pages import REPOSITORY, page
from tests.factories.transcript import play, transcript
from tests.servers import free_ports


@pytest.mark.processes
def test_an_empty_directory_becomes_a_deployment_by_the_transcript(tmp_path: Path) -> None:
    clone, *rest = transcript(page("docs/guide/deploying.md"), "embedded")
    assert clone.command.startswith("git clone … s4")
    (port,) = free_ports(1)
    play(
        [replace(step, command=step.command.replace(":8000", f":{port}"))
         for step in (replace(clone, command=f"ln -s {REPOSITORY} s4"), *rest)],
        tmp_path,
        {"S4_PORT": str(port)},
    )  # fmt: skip
    assert (tmp_path / "deployment" / "s4-data" / "admin.key").exists()
