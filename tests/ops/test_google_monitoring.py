"""Google's policies, channels, dashboard and trails: parsed into Google's own types, and given to a stand-in for gcloud
by the script that would give them to Google. No server takes them here.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clouds.log_filters import logging_filter
from tests.clouds.programs import HERE, run
from tests.unit.test_cloud_monitoring import GOOGLE, POLICIES

pytestmark = pytest.mark.ops

SCRIPT = GOOGLE / "apply.sh"
AUDIT = GOOGLE / "audit" / "policies" / "page"


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("policy", POLICIES),
        ("channel", sorted((GOOGLE / "monitoring" / "channels").glob("*.json"))),
        ("dashboard", [GOOGLE / "monitoring" / "dashboard.json"]),
    ],
)
def test_the_files_are_of_googles_own_types(kind: str, files: list[Path], tmp_path: Path) -> None:
    assert files
    done = run("python", HERE / "google_types.py", kind, *files)
    assert done.returncode == 0, done.stderr
    content = json.loads(files[0].read_text())
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(content | {"displaysName": "x"}))
    assert "displaysName" in run("python", HERE / "google_types.py", kind, wrong).stderr


def test_the_guides_policy_is_of_googles_own_type(tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(yaml.safe_load((GOOGLE / "monitoring" / "policy.yaml").read_text())))
    done = run("python", HERE / "google_types.py", "policy", policy)
    assert done.returncode == 0, done.stderr


# -- the script


def test_the_script_is_plain_shell() -> None:
    done = run("shellcheck", "--severity=style", SCRIPT)
    assert done.returncode == 0, done.stdout


def apply(what: str, notes: Path) -> list[dict[str, Any]]:
    """Runs the script against the stand-in; its calls since."""
    programs = notes / "bin"
    programs.mkdir(exist_ok=True)
    gcloud = programs / "gcloud"
    gcloud.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {HERE / "recording_gcloud.py"} "$@"\n')
    gcloud.chmod(0o755)
    log = notes / "calls.jsonl"
    log.unlink(missing_ok=True)
    done = subprocess.run(
        ["/bin/sh", SCRIPT, what],
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "GCLOUD_NOTES": str(notes),
            "PROJECT": "my-project",
            "BUCKET": "my-bucket",
            "PAGE_EMAIL": "pages@example.com",
            "TICKET_EMAIL": "tickets@example.com",
        },
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_monitoring_is_made_once_and_changed_after_that(tmp_path: Path) -> None:
    first = apply("monitoring", tmp_path)
    made = [call for call in first if "create" in call["words"]]
    assert [call["words"][1:3] for call in made].count(["monitoring", "channels"]) == 2
    policies = {
        content["userLabels"]["s4_alert"]: content
        for call in made
        for content in map(json.loads, call["files"])
        if "conditions" in content
    }
    assert set(policies) == {path.stem for path in POLICIES if "monitoring" in path.parts}
    told = [word for call in made for word in call["words"] if word.startswith("--notification-channels=")]
    assert set(told) == {"--notification-channels=projects/my-project/notificationChannels/1"}
    assert len(told) == len(policies)
    assert [call["words"][:3] for call in made][-1] == ["monitoring", "dashboards", "create"]
    assert "${" not in json.dumps([call["files"] for call in made])

    (tmp_path / "exists").write_text("\n".join(path.stem for path in POLICIES))
    again = apply("monitoring", tmp_path)
    assert not [call for call in again if "create" in call["words"]]
    assert len([call for call in again if "update" in call["words"]]) == len(policies) + 1
    assert json.loads(again[-1]["files"][0])["etag"] == "the-etag"


def test_trails_are_enabled_without_losing_what_others_set(tmp_path: Path) -> None:
    calls = apply("trails", tmp_path)
    (given,) = [json.loads(call["files"][0]) for call in calls if "set-iam-policy" in call["words"]]
    assert (given["etag"], given["bindings"]) == ("BwX", [{"role": "roles/owner", "members": []}])
    configs = {each["service"]: each.get("auditLogConfigs", []) for each in given["auditConfigs"]}
    assert set(configs) == {
        "storage.googleapis.com",
        "cloudkms.googleapis.com",
        "iam.googleapis.com",
        "sqladmin.googleapis.com",
    }
    assert {each["logType"] for each in configs["storage.googleapis.com"]} == {"DATA_READ", "DATA_WRITE", "ADMIN_READ"}
    assert configs["storage.googleapis.com"][0]["exemptedMembers"] == ["user:alice@example.com"]
    verbs = [call["words"] for call in calls]
    assert verbs[-1][:3] == ["logging", "buckets", "update"]
    assert "--locked" in verbs[-1]

    (tmp_path / "exists").write_text("\n".join(path.stem for path in POLICIES))
    again = apply("trails", tmp_path)
    assert not [call for call in again if "create" in call["words"] or "--locked" in call["words"]]


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="Google's program is in no registry that tests may use")
def test_gcloud_knows_every_command_and_flag(tmp_path: Path) -> None:
    calls = apply("monitoring", tmp_path) + apply("trails", tmp_path)
    (tmp_path / "exists").write_text("\n".join(path.stem for path in POLICIES))
    calls += apply("monitoring", tmp_path) + apply("trails", tmp_path)
    # One of each form: a command and its flags.
    forms = {
        (*(word for word in words if word.isalpha()), *sorted(_flags(words))): words
        for words in (call["words"] for call in calls)
    }
    commands = tmp_path / "commands"
    commands.write_text(json.dumps([{"command_string": f"gcloud {shlex.join(words)}"} for words in forms.values()]))
    done = subprocess.run(
        ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={commands}"],
        env=os.environ | {"CLOUDSDK_CONFIG": str(tmp_path), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    judged = json.loads(done.stdout)
    assert len(judged) == len(forms)
    assert [(each["command_string"], each["error_message"]) for each in judged if not each["success"]] == []


def _flags(words: list[str]) -> set[str]:
    return {word.split("=")[0] for word in words if word.startswith("--")}


# -- what the policies of the trails see


def entry(service: str, method: str, *, kind: str = "project", log: str = "activity", **labels: str) -> dict[str, Any]:
    """An entry of the audit log, as much of it as filters look at."""
    return {
        "logName": f"projects/my-project/logs/cloudaudit.googleapis.com%2F{log}",
        "resource": {"type": kind, "labels": labels},
        "protoPayload": {
            "serviceName": f"{service}.googleapis.com",
            "methodName": method,
            "authenticationInfo": {"principalEmail": "alice@example.com"},
        },
    }


def bucket(method: str, name: str = "my-bucket", log: str = "activity") -> dict[str, Any]:
    return entry("storage", method, kind="gcs_bucket", log=log, bucket_name=name)


CHANGES = {
    "policy-changes": [bucket("storage.setIamPermissions"), bucket("storage.buckets.delete")],
    "lifecycle-changes": [bucket("storage.buckets.update"), bucket("storage.buckets.lockRetentionPolicy")],
    "key-changes": [
        *(
            entry("cloudkms", method)
            for method in ("DestroyCryptoKeyVersion", "UpdateCryptoKeyVersion", "UpdateCryptoKey", "SetIamPolicy")
        ),
        entry("iam", "google.iam.admin.v1.CreateServiceAccountKey"),
    ],
    "role-changes": [
        entry("cloudresourcemanager", "SetIamPolicy"),
        entry("iam", "google.iam.admin.v1.UpdateRole"),
        entry("iam", "google.iam.admin.v1.SetIAMPolicy"),
        entry("iam", "google.iam.admin.v1.DisableServiceAccount"),
    ],
    "trail-changes": [
        entry("logging", f"google.logging.v2.ConfigServiceV2.{method}")
        for method in ("UpdateSink", "DeleteSink", "UpdateBucket", "CreateExclusion")
    ],
}
EVERYDAY = [
    bucket("storage.objects.create", log="data_access"),
    bucket("storage.buckets.get", log="data_access"),
    bucket("storage.buckets.update", name="somebody-elses"),
    entry("cloudkms", "Decrypt", log="data_access"),
    entry("cloudkms", "CreateKeyRing"),
    entry("run", "google.cloud.run.v1.Services.ReplaceService"),
    entry("logging", "google.logging.v2.ConfigServiceV2.ListSinks"),
]


def test_each_change_opens_its_policy_alone() -> None:
    assert {path.stem for path in AUDIT.glob("*.json")} == set(CHANGES)
    filters = {}
    for name in CHANGES:
        (condition,) = json.loads((AUDIT / f"{name}.json").read_text())["conditions"]
        filters[name] = logging_filter(condition["conditionMatchedLog"]["filter"].replace("${bucket}", "my-bucket"))
    for change, entries in CHANGES.items():
        for each in entries:
            assert {name for name, passes in filters.items() if passes(each)} == {change}, each["protoPayload"]
    for each in EVERYDAY:
        assert not [name for name, passes in filters.items() if passes(each)], each["protoPayload"]
