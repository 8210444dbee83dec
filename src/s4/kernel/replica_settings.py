"""The part of the settings that is about a second bucket, in another region (`domains/maintenance/replication.py`)."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, field_validator

from s4.kernel.setting_values import Secret, names_a_store


class ReplicaSettings(BaseModel):
    """A part of `Settings`."""

    # -- second region
    replica_store_url: str | None = Field(
        None,
        description="The second bucket, as S4_STORE_URL names the first. Where the first serves, it is what is copied "
        "to and read from when the first fails; where the second was promoted, it is the former first.",
    )
    replica_store_endpoint: str | None = Field(None, description="As S4_STORE_ENDPOINT.")
    replica_store_region: str = "us-east-1"
    replica_store_access_key_id: Annotated[str | None, Secret()] = None
    replica_store_secret_access_key: SecretStr | None = None
    replica_store_google_key_file: Path | None = Field(None, description="As S4_STORE_GOOGLE_KEY_FILE.")
    replicate_seconds: float = Field(
        0.0,
        ge=0,
        description="How often a worker copies what is new into the second bucket; what the first took since is lost "
        "with it. Each time costs two listings of the first bucket and of the second. 0: the store does it, or "
        "`s4 replicate`.",
    )
    replica_deletions_hours: float = Field(
        24.0,
        ge=0,
        description="What was deleted in the first bucket stays so much longer in the second: an error that deletes "
        "is noticed first.",
    )
    replica_read_seconds: float = Field(
        2.0,
        gt=0,
        description="A download or a text that the first bucket has not begun to send by then is read from the second.",
    )
    term_watch_seconds: float = Field(
        30.0,
        gt=0,
        description="How often a process looks whether another region was promoted, in either bucket: so long at most "
        "it goes on accepting what nobody will keep. One small request to each.",
    )

    _replica_store_url = field_validator("replica_store_url")(names_a_store)
