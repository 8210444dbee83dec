"""Backups over HTTP: asked for, made by the worker, listed."""

import time

import httpx

from s4client import S4AdminClient
from tests.factories.deployment import ADMIN_KEY, Deployment

_PATIENCE_SECONDS = 120  # workers step back where others want the processors


def test_an_administrator_asks_for_a_backup_and_the_worker_makes_it(deployment: Deployment) -> None:
    with S4AdminClient(deployment.url, api_key=ADMIN_KEY) as s4:
        before = {backup.id for backup in s4.list_backups().backups}
        s4.request_backup()
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while not (made := [each for each in s4.list_backups().backups if each.id not in before]):
            assert time.monotonic() < give_up_at, "no worker makes it"
            time.sleep(0.1)
        # Other tests take objects out of this bucket, which a backup tells of.
        assert made[0].ok or str(made[0].problem).startswith("The bucket lacked")
        assert made[0].point is not None
        for act in ("backup.request", "backup.create"):  # the manifest is there a moment before the trail says so
            while not s4.list_audit_page(action=act, limit=1).entries:
                assert time.monotonic() < give_up_at, act
                time.sleep(0.1)


def test_a_tenant_has_nothing_to_do_with_backups(tenant: httpx.Client) -> None:
    assert tenant.get("/admin/backups").status_code == 401
    assert tenant.post("/admin/backups").status_code == 401
