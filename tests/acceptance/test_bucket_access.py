"""What a bucket sees of S4: whose credentials it comes with, and where it writes."""

import secrets
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from s4.platform.objects import open_signed
from s4.platform.objects.signed import Signature
from tests.factories.house import open_house
from tests.servers import S3Server


async def test_without_keys_store_and_index_come_with_the_environments_and_stay_below_the_prefix(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As AWS's own tools do. The keys of a machine's role come by the same road, from another source."""
    for name, value in {"ACCESS_KEY_ID": s3_server.access_key, "SECRET_ACCESS_KEY": s3_server.secret_key}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    prefix = f"a/{secrets.token_hex(4)}"
    async with open_house(tmp_path, store_url=f"s3://{s3_bucket}/{prefix}", store_endpoint=s3_server.endpoint) as house:
        acme = await house.tenant()
        document = await house.put(acme, "tides", "Tides follow the moon.")
        await house.work()
        assert await house.found(acme, "tides") == [document.document_id]

    written = [each["path"] for each in obstore.list(whole_bucket(s3_server, s3_bucket)).collect()]
    kinds = {path.removeprefix(f"{prefix}/").partition("/")[0] for path in written}
    assert kinds == {"tenants", "system", "indices"}
    assert all(path.startswith(f"{prefix}/") for path in written)


async def test_keys_of_the_settings_go_with_nothing_of_the_environments(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that belongs to other keys would spoil every signature, of the store's and of the index."""
    somebody_elses = {"ACCESS_KEY_ID": "AKIAEXAMPLE1234", "SECRET_ACCESS_KEY": "secret", "SESSION_TOKEN": "a-token"}
    for name, value in somebody_elses.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    async with open_house(
        tmp_path,
        store_url=f"s3://{s3_bucket}",
        store_endpoint=s3_server.endpoint,
        store_access_key_id=s3_server.access_key,
        store_secret_access_key=s3_server.secret_key,
    ) as house:
        signed = open_signed(house.core.settings)
        assert signed is not None
        assert await signed.signature() == Signature(s3_server.access_key, temporary=False)
        acme = await house.tenant()
        document = await house.put(acme, "tides", "Tides follow the moon.")
        await house.work()
        assert await house.found(acme, "tides") == [document.document_id]


def whole_bucket(server: S3Server, bucket: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=server.endpoint,
        region=server.region,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "timeout": timedelta(seconds=10)},
    )
