"""Opens the object store that the settings name."""

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import GCSStore, MemoryStore, S3Store

from s4.kernel.errors import InvalidRequest
from s4.kernel.setting_values import StoreEncryption
from s4.kernel.settings import Settings
from s4.platform.objects.base import Backend
from s4.platform.objects.failover import FailingOver
from s4.platform.objects.local import LocalBackend
from s4.platform.objects.remote import RemoteBackend
from s4.platform.objects.signed import SignedRequests
from s4.platform.objects.store import LancePlace, ObjectStore

if TYPE_CHECKING:  # obstore's types exist for type checkers only
    from obstore.store import ClientConfig, GCSConfig, RetryConfig, S3Config

# A server that is silent for half of a request's time has lost it; the other half is for asking again.
_SILENCE_SHARE = 0.5
# Every step of a body is bounded by its own deadline; this one would cut honest downloads to slow readers.
_WHOLE_BODY = timedelta(hours=6)
_BACKOFF_FIRST = timedelta(milliseconds=100)
_BACKOFF_MAX = timedelta(seconds=3)
_ENVIRONMENTS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN")


def open_failing_over(settings: Settings, replica: ObjectStore | None) -> ObjectStore:
    """The first bucket, whose contents and texts are read from the second when it fails, where there is a second."""
    if replica is None:
        return open_store(settings)
    backend, lance_place = _opened(settings)
    return FailingOver(
        backend,
        timeout_seconds=settings.store_timeout_seconds,
        part_bytes=settings.store_part_bytes,
        lance_place=lance_place,
        replica=replica,
        first_byte_seconds=settings.replica_read_seconds,
    )


def open_store(settings: Settings) -> ObjectStore:
    """`file:///path`, `s3://bucket/prefix`, `gs://bucket/prefix` or `memory://`; `Settings` takes nothing else.

    A directory is made when it is missing; a bucket is not, and is first asked by `probe`. Raises `InvalidRequest` when
    credentials are named that cannot be read.
    """
    backend, lance_place = _opened(settings)
    return ObjectStore(
        backend,
        timeout_seconds=settings.store_timeout_seconds,
        part_bytes=settings.store_part_bytes,
        lance_place=lance_place,
    )


def open_replica(settings: Settings) -> ObjectStore | None:
    """The second bucket; None where none is named."""
    described = of_replica(settings)
    return open_store(described) if described is not None else None


def of_replica(settings: Settings) -> Settings | None:
    """The same settings, with the second bucket in the place of the first; None where none is named."""
    if settings.replica_store_url is None:
        return None
    names = ("url", "endpoint", "region", "access_key_id", "secret_access_key", "google_key_file")
    second = {f"store_{name}": getattr(settings, f"replica_store_{name}") for name in names}
    return settings.model_copy(update=second | {"replica_store_url": None})


def open_signed(settings: Settings) -> SignedRequests | None:
    """Single requests to the S3 bucket that the settings name; None for any other store."""
    backend, _ = _opened(settings)
    if not isinstance(backend, RemoteBackend):
        return None
    return backend.signed(timeout_seconds=settings.store_timeout_seconds)


def _opened(settings: Settings) -> tuple[Backend, LancePlace | None]:
    if settings.store_url is None:
        return _local((settings.data_dir / "objects").absolute())
    url = urlsplit(settings.store_url)
    match url.scheme:
        case "file":
            return _local(Path(unquote(url.path)))
        case "s3":
            return _s3(settings, bucket=url.netloc, prefix=url.path.strip("/"))
        case "gs":
            return _gs(settings, bucket=url.netloc, prefix=url.path.strip("/"))
    return RemoteBackend(MemoryStore(), prefix="", part_bytes=settings.store_part_bytes), None


def _local(root: Path) -> tuple[Backend, LancePlace]:
    return LocalBackend(root), (str(root), {})


def _s3(settings: Settings, *, bucket: str, prefix: str) -> tuple[Backend, LancePlace]:
    if settings.store_access_key_id is not None:
        # Both libraries fill up from the environment what is not set, each key and token by itself, and neither takes
        # "none" for a token: somebody else's would go with our keys. So this process has no others.
        for variable in _ENVIRONMENTS_KEYS:
            os.environ.pop(variable, None)
    # AWS wants the bucket in the host name, where its certificate allows no dots; everybody else takes it in the path.
    in_host_name = settings.store_endpoint is None and "." not in bucket
    store = S3Store(
        bucket,
        region=settings.store_region,
        virtual_hosted_style_request=in_host_name,
        config=_s3_access(settings),
        client_options=_client_options(settings),
        retry_config=_retries(settings),
    )
    options = {
        "aws_region": settings.store_region,
        "aws_virtual_hosted_style_request": str(in_host_name).lower(),
        **_engine_options(settings),
        **{f"aws_{name}": str(value) for name, value in _s3_access(settings).items()},
    }
    return _below(store, settings, prefix), (f"s3://{bucket}/{prefix}".rstrip("/"), options)


def _gs(settings: Settings, *, bucket: str, prefix: str) -> tuple[Backend, LancePlace]:
    access = _gs_access(settings)
    try:
        store = GCSStore(
            bucket, config=access, client_options=_client_options(settings), retry_config=_retries(settings)
        )
    except BaseError as error:  # it reads keys at once
        said = str(error).splitlines()[0].rpartition("error: ")[2].rstrip(".")
        raise InvalidRequest(
            f"The credentials for Google's storage cannot be used: {said}. "
            "Look at S4_STORE_GOOGLE_KEY_FILE, and at GOOGLE_* and SERVICE_ACCOUNT of the environment."
        ) from error
    options = {**_engine_options(settings), **{f"google_{name}": str(value) for name, value in access.items()}}
    return _below(store, settings, prefix), (f"gs://{bucket}/{prefix}".rstrip("/"), options)


def _below(store: S3Store | GCSStore, settings: Settings, prefix: str) -> RemoteBackend:
    return RemoteBackend(store, prefix=f"{prefix}/" if prefix else "", part_bytes=settings.store_part_bytes)


def _client_options(settings: Settings) -> "ClientConfig":
    return {
        "allow_http": _plain_http(settings),
        "connect_timeout": timedelta(seconds=settings.store_connect_timeout_seconds),
        "read_timeout": timedelta(seconds=settings.store_timeout_seconds * _SILENCE_SHARE),
        "timeout": _WHOLE_BODY,
    }


def _retries(settings: Settings) -> "RetryConfig":
    return {
        "max_retries": settings.store_retries_max,
        "retry_timeout": timedelta(seconds=settings.store_timeout_seconds),
        "backoff": {"init_backoff": _BACKOFF_FIRST, "max_backoff": _BACKOFF_MAX},
    }


def _engine_options(settings: Settings) -> dict[str, str]:
    """What LanceDB is told of any bucket."""
    return {
        "allow_http": str(_plain_http(settings)).lower(),
        "connect_timeout": _milliseconds(settings.store_connect_timeout_seconds),
        "timeout": _milliseconds(settings.store_timeout_seconds),
        "client_max_retries": str(settings.store_retries_max),
    }


def _milliseconds(seconds: float) -> str:
    """As the engine reads durations: whole numbers with a unit."""
    return f"{round(seconds * 1000)}ms"


def _plain_http(settings: Settings) -> bool:
    return (settings.store_endpoint or "").startswith("http://")


def _s3_access(settings: Settings) -> "S3Config":
    """What is set, and the encryption that is asked for. Without keys they come from the machine's environment or role,
    as AWS's own tools find it."""
    access: S3Config = {}
    if settings.store_endpoint is not None:
        access["endpoint"] = settings.store_endpoint
    if settings.store_access_key_id is not None:
        access["access_key_id"] = settings.store_access_key_id
    if settings.store_secret_access_key is not None:
        access["secret_access_key"] = settings.store_secret_access_key.get_secret_value()
    if settings.store_encryption is StoreEncryption.SSE_S3:
        access["server_side_encryption"] = "AES256"
    elif settings.store_encryption is StoreEncryption.SSE_KMS:
        access["server_side_encryption"] = "aws:kms"
        if settings.store_kms_key_id is not None:
            access["sse_kms_key_id"] = settings.store_kms_key_id
    return access


def _gs_access(settings: Settings) -> "GCSConfig":
    """What is set; the rest comes from the machine's environment or identity, as Google's own tools find it."""
    access: GCSConfig = {}
    if settings.store_endpoint is not None:
        access["base_url"] = settings.store_endpoint.rstrip("/")
    if settings.store_google_key_file is not None:
        access["service_account"] = str(settings.store_google_key_file)
    return access
