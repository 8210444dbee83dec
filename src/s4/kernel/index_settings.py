"""The part of the settings that names other ways of indexing, to which tenants are moved one by one."""

import re

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from s4.kernel.setting_values import EmbeddingProvider

DEFAULT_MODEL = "default"
"""What the way of indexing is called that `S4_EMBEDDING_*` and `S4_CHUNK_*` say."""
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")


class IndexModel(BaseModel):
    """A way of indexing beside the deployment's own. What is unset is as the setting of the whole deployment says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: EmbeddingProvider | None = None
    model: str | None = None
    dimension: int | None = Field(None, ge=1)
    base_url: str | None = None
    api_key: SecretStr | None = None
    chunk_tokens_max: int | None = Field(None, ge=16)
    chunk_overlap_tokens: int | None = Field(None, ge=0)
    price_million_tokens: float | None = Field(None, ge=0)


class IndexSettings(BaseModel):
    """A part of `Settings`."""

    # -- embedding
    index_models: dict[str, IndexModel] = Field(
        {},
        description="Other ways of indexing, by name, that tenants can be moved to (see [changing "
        'models](../guide/changing-models.md)): `{"new": {"model": "text-embedding-3-large", "dimension": 3072}}`, or '
        "tables `[index_models.new]` in the file. Fields are `provider`, `model`, `dimension`, `base_url`, `api_key`, "
        "`chunk_tokens_max`, `chunk_overlap_tokens`, `price_million_tokens`; what is absent is as the deployment has "
        "it.",
    )

    @field_validator("index_models")
    @classmethod
    def _named(cls, models: dict[str, IndexModel]) -> dict[str, IndexModel]:
        for name in models:
            if not _NAME.fullmatch(name) or name == DEFAULT_MODEL:
                raise ValueError(
                    f"{name!r} is no name for a model: take letters in lower case, digits, dots and hyphens, and not "
                    f"{DEFAULT_MODEL!r}, which is the deployment's own"
                )
        return models
