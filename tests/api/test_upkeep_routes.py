"""Schedule and checklist over HTTP and from the command line, on a deployment whose worker really runs them."""

from pathlib import Path

import httpx
import pytest

from s4.entrypoints.cli.app import run
from s4client import S4AdminClient
from tests.api.calls import metric
from tests.factories.deployment import ADMIN_KEY, Deployment, await_worker

PATIENCE_SECONDS = 120  # workers step back where others want the processors


@pytest.fixture
def environment(deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of an administrator."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S4_URL", deployment.url)
    monkeypatch.setenv("S4_ADMIN_API_KEY", ADMIN_KEY)


@pytest.mark.usefixtures("environment")
def test_a_task_is_run_at_once_and_waited_for(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    await_worker(deployment)
    with S4AdminClient(deployment.url, api_key=ADMIN_KEY) as s4:
        code = run(["schedule", "run", "maintenance.recount", "--wait", str(PATIENCE_SECONDS)])
        assert (code, capsys.readouterr().out) == (0, "maintenance.recount has succeeded.\n")
        task = s4.task("maintenance.recount")
        assert task.last_succeeded_at is not None
        assert task.last_started_at is not None
        assert (task.outcome, task.overdue) == ("ok", False)
        assert task.every_seconds is not None
        assert (task.next_at - task.last_started_at).total_seconds() == task.every_seconds
        assert run(["schedule", "list"]) == 0
        shown = capsys.readouterr().out.splitlines()
        assert {line.split("\t")[0] for line in shown} == {each.task for each in s4.schedule().tasks}
    assert metric(deployment, "s4_schedule_interval_seconds", process="api", task="maintenance.recount") == 3600


@pytest.mark.usefixtures("environment")
def test_a_task_that_nobody_knows_is_named_by_its_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schedule", "run", "maintenance.recuont"]) == 1
    assert "No task is called 'maintenance.recuont'" in capsys.readouterr().err


@pytest.mark.usefixtures("environment")
def test_the_checklist_is_ticked_with_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["checklist", "done", "key-rotation", "--note", "All three."]) == 0
    assert capsys.readouterr().out.startswith("key-rotation is done; due again on ")
    assert run(["checklist", "list"]) == 0, "a new deployment owes nothing yet"
    rows = {line.split("\t")[0]: line.split("\t") for line in capsys.readouterr().out.splitlines()}
    assert rows["key-rotation"][-1] == "All three."
    assert rows["cost-review"][1] == "never"


def test_a_tenant_has_nothing_to_do_with_either(tenant: httpx.Client) -> None:
    for method, path in (
        ("GET", "/admin/schedule"),
        ("GET", "/admin/schedule/maintenance.recount"),
        ("POST", "/admin/schedule/maintenance.recount/run"),
        ("GET", "/admin/checklist"),
    ):
        assert tenant.request(method, path).status_code == 401
    assert tenant.post("/admin/checklist/cost-review/done", json={"note": ""}).status_code == 401
