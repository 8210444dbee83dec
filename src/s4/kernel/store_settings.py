"""The part of the settings that says where the objects are, and how they are come by (`platform/objects`)."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, field_validator

from s4.kernel.setting_values import Secret, Size, StoreEncryption, names_a_store
from s4.kernel.units import MIB


class StoreSettings(BaseModel):
    """A part of `Settings`."""

    # -- object store
    store_url: str | None = Field(
        None,
        description="`file:///path`, `s3://bucket/prefix` or `gs://bucket/prefix` (Google Cloud Storage); `memory://` "
        "within one process, for tests. Default: `objects/` in the data directory.",
    )
    store_endpoint: str | None = Field(
        None,
        description="For S3-compatible stores: `http://127.0.0.1:8333`. With `gs://`: another address of Google's "
        "storage, or an emulator.",
    )
    store_region: str = "us-east-1"
    store_access_key_id: Annotated[str | None, Secret()] = None
    store_secret_access_key: SecretStr | None = None
    store_google_key_file: Path | None = Field(
        None,
        description="For `gs://`: a service account's key, the JSON file that Google gives. Unset: the identity of the "
        "machine, which its metadata service knows (workload identity on GKE, the service account on Cloud Run and "
        "Compute Engine). Prefer that: it is renewed by itself, and there is no key to lose.",
    )
    store_encryption: StoreEncryption = Field(
        StoreEncryption.BUCKET,
        description="Of S3: `bucket`: no header is sent, and the bucket's default encryption counts; `sse-s3`: S4 asks "
        "for the store's own key with everything that it writes, index files included; `sse-kms`: for a key of a key "
        "management service, whose uses it logs and can end. Google's storage and a directory know `bucket` only.",
    )
    store_kms_key_id: str | None = Field(
        None, description="For `sse-kms`: the key's id or ARN. Unset: the account's key for S3."
    )
    store_timeout_seconds: float = Field(
        30.0,
        gt=0,
        description="Deadline of one request to the store, retries included; a caller's request must "
        "not hang with the store.",
    )
    store_connect_timeout_seconds: float = Field(3.0, gt=0)
    store_retries_max: int = Field(4, ge=0, description="Repeats of one request, with exponential backoff.")
    store_part_bytes: Size = Field(
        8 * MIB,
        description="Part of a multipart upload. Larger parts cost memory per upload, smaller ones "
        "requests; S3 and Google's storage allow 10,000 parts of at least 5 MiB.",
    )

    _store_url = field_validator("store_url")(names_a_store)
