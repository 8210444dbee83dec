"""The guides' examples, executed as they stand there."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from s4.kernel.settings import LogFormat
from tests.factories.command_line import documents
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment, await_worker, clean_environment
from tests.factories.events import every_event
from tests.factories.pages import ADDRESS, REPOSITORY, executed_blocks, page, run_blocks

pytestmark = pytest.mark.processes

CLIENT = page("docs/guide/client.md")
QUOTAS = page("docs/guide/quotas.md")
COMMAND_LINE = page("docs/guide/command-line.md")
TENANTS = page("docs/guide/tenants.md")
KEYS = page("docs/guide/keys.md")
AUDIT = page("docs/guide/audit.md")
MAINTENANCE = page("docs/guide/maintenance.md")
STORE = page("docs/guide/store.md")
BACKUP = page("docs/guide/backup.md")
LEAVING = page("docs/guide/leaving.md")
KEEPING = page("docs/guide/keeping.md")
UPGRADING = page("docs/guide/upgrading.md")
DOCTOR = page("docs/guide/doctor.md")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place to stand in as a reader does in the repository."""
    (tmp_path / "samples").symlink_to(REPOSITORY / "samples")
    return tmp_path


def test_the_command_lines_guide_does_what_it_says(served: Deployment, tenant: dict[str, str], folder: Path) -> None:
    printed = run_blocks(executed_blocks(COMMAND_LINE, "bash"), folder, served.url, tenant)

    assert "failed; " in printed[0]
    assert {"company/travel-policy.docx", "log/pump.txt", "team/tides.txt"} <= set(documents(tenant))
    assert "team/ice.txt" not in documents(tenant)
    assert (folder / "travel-policy.docx").read_bytes() == (
        folder / "samples/documents/travel-policy.docx"
    ).read_bytes()


def test_the_walk_through_a_tenants_life_does_what_it_says(served: Deployment, folder: Path) -> None:
    environment = {"S4_URL": served.url, "S4_ADMIN_API_KEY": ADMIN_KEY}
    printed = run_blocks(executed_blocks(TENANTS, "bash"), folder, served.url, environment)

    assert "starter" in printed[0]
    assert "Deleted tenant Initech" in printed[-1]
    assert (folder / "keys.jsonl").stat().st_mode & 0o777 == 0o600


def test_the_guide_to_usage_does_what_it_says(served: Deployment, tenant: dict[str, str], folder: Path) -> None:
    own, operator, levels = run_blocks(
        executed_blocks(page("docs/guide/usage.md"), "bash"),
        folder,
        served.url,
        tenant | {"S4_ADMIN_API_KEY": ADMIN_KEY},
    )

    assert own.splitlines()[-2].startswith("20"), "the month's row"
    assert (folder / "hours.csv").read_text().startswith("start,calls,")
    assert "top_tenants_by_storage" in operator
    assert "/search" in operator
    assert "unattributed_failures" in levels
    assert (folder / "report.md").read_text().startswith("# Service level of ")


def test_the_guide_to_reports_does_what_it_says(served: Deployment, tenant: dict[str, str], folder: Path) -> None:
    (folder / "s4-data").symlink_to(served.data_dir)
    environment = FAST | {"S4_DATA_DIR": "s4-data", "S4_ADMIN_API_KEY": ADMIN_KEY}
    performance, cost = run_blocks(
        executed_blocks(page("docs/guide/reports.md"), "bash"), folder, served.url, environment
    )
    assert "# Performance of January 2026" in performance
    assert (folder / "performance.html").read_text().startswith("<!doctype html>")
    assert "| storage | 0.00 USD | 12.50 USD | 12.50 USD | – |" in cost
    assert "| 1 | 41.00 USD | Billed for compute beyond the model" in cost
    with served.admin() as admin:
        done = {item["item"]: item["evidence"] for item in admin.get("/admin/checklist").json()["items"]}
    assert done["performance-review"] == "Performance of January 2026: Nobody asked for anything."
    assert done["cost-review"] is None


def test_the_keys_guide_does_what_it_says(served: Deployment, tenant: dict[str, str], folder: Path) -> None:
    environment = tenant | {"S4_ADMIN_API_KEY": ADMIN_KEY}

    printed = run_blocks(executed_blocks(KEYS, "bash"), folder, served.url, environment)

    assert "website\tactive\tdocuments:read search" in printed[0]
    assert "Revoked " in printed[2]
    assert "sales" in printed[4]
    assert "Revoked ada." in printed[6]


@pytest.fixture
def operator(served: Deployment) -> dict[str, str]:
    """The environment of whoever holds the administrator's key."""
    return {"S4_URL": served.url, "S4_ADMIN_API_KEY": ADMIN_KEY}


def test_the_guide_to_the_audit_trail_does_what_it_says(
    served: Deployment, operator: dict[str, str], folder: Path
) -> None:
    printed = run_blocks(executed_blocks(AUDIT, "bash"), folder, served.url, operator)
    assert "tenant.create" in printed[0]
    assert "The trail holds: " in printed[1]
    exported = [json.loads(line) for line in (folder / "trail.jsonl").read_text().splitlines()]
    assert {"tenant.create", "http.post"} <= {entry["action"] for entry in exported}


def test_the_guide_to_maintenance_does_what_it_says(served: Deployment, operator: dict[str, str], folder: Path) -> None:
    printed = run_blocks(executed_blocks(MAINTENANCE, "bash"), folder, served.url, operator)
    assert "is cancelled: 2036-12-01 02:00 to 2036-12-01 04:00, read_only." in printed[0]
    assert "is resolved: This is over: Searches are slow." in printed[1]


def test_the_guide_to_backups_does_what_it_says(served: Deployment, tenant: dict[str, str], folder: Path) -> None:
    (folder / "tides.txt").write_text("Tides follow the moon.")
    beside = FAST | {"S4_DATA_DIR": str(served.data_dir), "S4_ADMIN_API_KEY": ADMIN_KEY}

    made, _, drilled, restored = run_blocks(executed_blocks(BACKUP, "bash"), folder, ADDRESS, beside)

    assert " is sound; " in made
    assert "The drill was passed." in drilled
    assert json.loads((folder / "drill.json").read_text())["ok"]
    assert "It can be served." in restored


def test_the_guide_to_coming_and_leaving_does_what_it_says(
    served: Deployment, tenant: dict[str, str], folder: Path
) -> None:
    environment = tenant | {"S4_ADMIN_API_KEY": ADMIN_KEY}
    printed = run_blocks(executed_blocks(LEAVING, "bash"), folder, served.url, environment)
    assert "Exported 2 documents of Acme" in printed[1]
    assert "Loaded 2 documents into Acme" in printed[2]
    assert "nothing was left" in printed[4]


def test_the_guide_to_keeping_does_what_it_says(served: Deployment, operator: dict[str, str], folder: Path) -> None:
    held, archived, days = run_blocks(executed_blocks(KEEPING, "bash"), folder, served.url, operator)
    assert "is held: Case 7." in held
    assert "It is held." in held
    assert "operator\tCase 7" in held
    assert "Not now: it is being brought back." in archived
    assert archived.splitlines()[-2].strip().isdecimal(), "its bytes"
    assert "kept 30 days; archived never." in days
    assert "Deleted 0 documents" in days


def test_the_guide_to_upgrading_does_what_it_says(served: Deployment, operator: dict[str, str], folder: Path) -> None:
    environment = operator | served.environment | {"S4_DATA_DIR": str(served.data_dir)}
    (said,) = run_blocks(executed_blocks(UPGRADING, "bash"), folder, served.url, environment)
    assert "Ready: nothing is in S4's way." in said


def test_the_guide_to_a_second_region_copies_into_one(
    served: Deployment, operator: dict[str, str], folder: Path
) -> None:
    (folder / "s4-data").symlink_to(served.data_dir)
    (printed,) = run_blocks(executed_blocks(page("docs/guide/second-region.md"), "bash"), folder, served.url, operator)
    assert "Copied " in printed
    assert (folder / "second-bucket" / "system" / "deployment.json").exists()


def test_the_guide_to_the_store_does_what_it_says(folder: Path) -> None:
    run_blocks(executed_blocks(STORE, "bash"), folder, ADDRESS)

    report = json.loads((folder / "store.json").read_text())
    assert report["exit_code"] == 0
    told = set(re.findall(r"^\| `([a-z_]+)` \|", STORE, re.MULTILINE))
    assert {check["name"] for check in report["checks"]} <= told
    (shown,) = re.findall(r"^<!-- policy -->\n```json\n(.*?)^```$", STORE, re.MULTILINE | re.DOTALL)
    assert (folder / "s4-policy.json").read_text() == shown
    (shown,) = re.findall(r"^<!-- role -->\n```json\n(.*?)^```$", STORE, re.MULTILINE | re.DOTALL)
    assert (folder / "s4-role.json").read_text() == shown


def test_the_guide_to_logs_finds_what_went_wrong(folder: Path) -> None:
    line = every_event(LogFormat.JSON)["store.failed"] + "\n"
    (folder / "s4.log").write_text(line * 3)
    (folder / "s4.log.1.gz").write_bytes(gzip.compress(every_event(LogFormat.ECS)["job.failed"].encode()))
    (printed,) = run_blocks(executed_blocks(page("docs/guide/logs.md"), "bash"), folder, ADDRESS)
    assert "3  warning  store.failed  timeout" in printed
    assert [each["event_type"] for each in json.loads((folder / "errors.json").read_text())["patterns"]] == [
        "job.failed"
    ]


@pytest.fixture
def program(folder: Path) -> Path:
    """The client's guide as one program."""
    path = folder / "guide.py"
    path.write_text("\n\n".join(executed_blocks(CLIENT, "python")), encoding="utf-8")
    return path


def test_the_clients_guide_does_what_it_says(
    served: Deployment, tenant: dict[str, str], folder: Path, program: Path
) -> None:
    program.write_text(program.read_text().replace(ADDRESS, served.url))

    done = subprocess.run(
        [sys.executable, program], cwd=folder, env=clean_environment() | tenant, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "processing"
    assert lines[1].startswith("ready ")
    assert "7 of 7" in lines
    assert lines[-1].startswith("not_found 404 ")
    assert set(documents(tenant)) == {"policies/travel.docx", *(f"pages/{number}.txt" for number in range(4))}


def test_a_program_that_uses_the_client_is_checked_by_its_types(folder: Path, program: Path) -> None:
    """As strictly as mypy can, and a mistake is found."""
    mistaken = folder / "mistaken.py"
    mistaken.write_text(program.read_text() + "\npatient.attempts = s4.search(5).results[0].scores\n")
    command = [
        sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file", os.devnull,
        "--cache-dir", REPOSITORY / ".mypy_cache" / "guides", program, mistaken,
    ]  # fmt: skip

    checked = subprocess.run(command, cwd=folder, env=clean_environment(), capture_output=True, text=True, check=False)

    errors = [line for line in checked.stdout.splitlines() if ": error: " in line]
    assert [line for line in errors if line.startswith("guide.py")] == []
    assert {line.rpartition("[")[2].rstrip("]") for line in errors} == {"arg-type", "attr-defined"}


def test_the_guide_to_quotas_does_what_it_says(served: Deployment, folder: Path) -> None:
    program = folder / "quotas.py"
    program.write_text("\n\n".join(executed_blocks(QUOTAS, "python")).replace(ADDRESS, served.url), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, program],
        cwd=folder,
        env=clean_environment() | {"S4_ADMIN_API_KEY": ADMIN_KEY},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    refused, recounted, quota, *_ = done.stdout.splitlines()
    figures = {"resource": "storage", "limit": 1_000_000, "used": 700_000, "reserved": 0, "requested": 400_000}
    assert refused == str(figures)
    assert (recounted, quota) == ("False 700000", "700000 1000000")


def test_the_guide_to_trouble_does_what_it_says(served: Deployment, folder: Path) -> None:
    """On a deployment that is well but for backups: there are none."""
    environment = served.environment | {"S4_URL": served.url, "S4_DATA_DIR": str(served.data_dir)}
    await_worker(served)

    whole, slow, waiting, storage, isolation, regular, ticked = run_blocks(
        executed_blocks(DOCTOR, "bash"), folder, served.url, environment
    )

    found = json.loads((folder / "doctor.json").read_text())
    assert {check["name"]: check["verdict"] for check in found["checks"]} == {"queue": "ok", "quotas": "ok"}
    assert "Nobody makes backups by the clock." in whole
    assert "Sound: nothing is in S4's way." in whole
    assert "degradation" in slow
    assert "embedding" in waiting
    assert "maintenance.recount has succeeded." in storage
    assert "ok  isolation.keys, processes, isolation.refusals" in isolation
    assert "maintenance.reconcile\t" in regular
    verified = ("there is no backup yet", "backup.verify has succeeded")  # by whether another guide made one before
    assert any(said in regular for said in verified)
    assert "security-patches is done" in ticked


def test_the_handbooks_backup_is_made_and_proved(served: Deployment, tenant: dict[str, str], folder: Path) -> None:
    beside = FAST | {"S4_DATA_DIR": str(served.data_dir), "S4_ADMIN_API_KEY": ADMIN_KEY}
    (printed,) = run_blocks(executed_blocks(page("docs/guide/handbook.md"), "bash"), folder, ADDRESS, beside)
    assert " is sound; " in printed
    assert "The drill was passed." in printed
