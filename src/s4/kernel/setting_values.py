"""What settings are made of: sizes, choices, and the checks of single values."""

import logging
from enum import StrEnum
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from s4.kernel.units import MIB, parse_size

if TYPE_CHECKING:
    from s4.kernel.settings import Settings

CLASSES_AT_REST = ("GLACIER", "DEEP_ARCHIVE")
"""Storage classes that answer a GET with an error until the object is restored."""
_PART_BYTES_MIN = 5 * MIB  # S3 and Google's storage refuse smaller ones, the last excepted
_GOOGLE = "storage.googleapis.com"

Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
"""Bytes; accepts `10 MiB`."""


class Secret:
    """Marks a setting that is shown as a secret though it is text, and may stand in a file of its own as they do."""


class Environment(StrEnum):
    """`embedded`: one machine, nothing to set up. `production`: secrets are demanded, nothing is minted."""

    EMBEDDED = "embedded"
    PRODUCTION = "production"


class ForwardedHeader(StrEnum):
    """`forwarded` is that of RFC 7239."""

    X_FORWARDED_FOR = "x-forwarded-for"
    FORWARDED = "forwarded"


class StoreEncryption(StrEnum):
    """What S4 asks of an S3 store for what it writes."""

    BUCKET = "bucket"
    SSE_S3 = "sse-s3"
    SSE_KMS = "sse-kms"


class EmbeddingProvider(StrEnum):
    """`local`: the bundled model. `openai`: any endpoint that speaks the OpenAI embeddings API.
    `deterministic`: hashed words, for tests and benchmarks; finds words, not meaning."""

    LOCAL = "local"
    OPENAI = "openai"
    DETERMINISTIC = "deterministic"


def names_a_mail_server(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None:
        url = urlsplit(secret.get_secret_value())
        if url.scheme not in ("smtp", "smtp+starttls", "smtps") or not url.hostname:
            raise ValueError("must be smtp://host, smtp+starttls://host or smtps://host")
    return secret


def known_level(text: str) -> str:
    if text.upper() not in logging.getLevelNamesMapping():
        raise ValueError("must be debug, info, warning or error")
    return text


def hard_to_guess(key: SecretStr | None) -> SecretStr | None:
    if key is not None and is_weak(key.get_secret_value()):
        raise ValueError("must be at least 32 random characters, for example from `openssl rand -hex 32`")
    return key


def names_networks(text: str) -> str:
    try:
        for part in filter(None, map(str.strip, text.split(","))):
            ip_network(part)
    except ValueError as error:
        raise ValueError("must be networks such as 10.1.0.0/16, separated by commas") from error
    return text


def names_a_collector(text: str | None) -> str | None:
    if text is not None:
        url = urlsplit(text)
        if url.scheme not in ("http", "https") or not url.hostname or url.path.strip("/") == "":
            raise ValueError("must be http://host:4318/v1/traces, path included, or the same with https://")
        if url.query or url.fragment or url.username or url.password:
            raise ValueError("must have no credentials, query or fragment")
    return text


def names_a_store(text: str | None) -> str | None:
    if text is None:
        return None
    url = urlsplit(text)
    if url.query or url.fragment or url.username or url.password:
        raise ValueError("must have no credentials, query or fragment")
    prefix = url.path.strip("/")
    match url.scheme:
        case "file" if url.netloc in ("", "localhost") and url.path.startswith("/"):
            return text
        case "s3" | "gs" if url.netloc:
            if any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
                raise ValueError("must have no empty or dotted segment in its prefix")
            return text
        case "memory" if not url.netloc and not prefix:
            return text
    raise ValueError("must be file:///path, s3://bucket/prefix, gs://bucket/prefix or memory://")


def names_a_database(url: SecretStr | None) -> SecretStr | None:
    if url is not None and not url.get_secret_value().startswith(("sqlite:///", "postgresql://")):
        raise ValueError("must begin with postgresql:// or sqlite:///")
    if url is not None:
        try:
            _ = urlsplit(url.get_secret_value()).port
        except ValueError as error:
            raise ValueError("must have a number from 0 to 65535 as its port") from error
    return url


def is_weak(key: str) -> bool:
    return len(key) < 32 or len(set(key)) < 10  # 128 bits, if they are hexadecimal digits; no `aaaa…`


def refuse_contradictions(settings: "Settings") -> None:
    """Raises `ValueError` when values that are well by themselves do not go together."""
    if settings.commit_lease_seconds <= settings.store_timeout_seconds:
        raise ValueError("S4_COMMIT_LEASE_SECONDS must exceed S4_STORE_TIMEOUT_SECONDS")
    if settings.extraction_archive_member_bytes_max > settings.extraction_scratch_bytes_max:
        raise ValueError("S4_EXTRACTION_ARCHIVE_MEMBER_BYTES_MAX must not exceed S4_EXTRACTION_SCRATCH_BYTES_MAX")
    _refuse_contradictions_about_the_store(settings, urlsplit(settings.store_url or "").scheme)
    _refuse_contradictions_about_the_replica(settings)
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ValueError("tls_cert and tls_key belong together: set both, or neither to speak plain HTTP")
    if settings.chunk_overlap_tokens * 2 > settings.chunk_tokens_max:
        raise ValueError("chunk_overlap_tokens must be at most half of chunk_tokens_max")
    _refuse_contradictions_about_models(settings)
    if settings.environment is Environment.PRODUCTION:
        key = settings.admin_api_key.get_secret_value() if settings.admin_api_key else ""
        if is_weak(key):
            raise ValueError(
                "S4_ADMIN_API_KEY is missing or weak: set one of at least 32 random characters, for example "
                "from `openssl rand -hex 32`"
            )
        if settings.secret_key is None:
            raise ValueError(
                "S4_SECRET_KEY is missing: set one of at least 32 random characters, for example from "
                "`openssl rand -hex 32`, and keep it: what is encrypted under it is lost without it"
            )


def _refuse_contradictions_about_models(settings: "Settings") -> None:
    for name, model in settings.index_models.items():
        provider = model.provider or settings.embedding_provider
        is_another = any((model.provider, model.model, model.base_url, model.dimension, model.api_key))
        if provider is EmbeddingProvider.OPENAI and is_another and model.dimension is None:
            raise ValueError(
                f"S4_INDEX_MODELS: {name} needs its dimension, for tables are made before its provider answers"
            )
        tokens_max = model.chunk_tokens_max or settings.chunk_tokens_max
        overlap = settings.chunk_overlap_tokens if model.chunk_overlap_tokens is None else model.chunk_overlap_tokens
        if overlap * 2 > tokens_max:
            raise ValueError(
                f"S4_INDEX_MODELS: chunk_overlap_tokens of {name} must be at most half of chunk_tokens_max"
            )


def _refuse_contradictions_about_the_store(settings: "Settings", scheme: str) -> None:
    if scheme in ("s3", "gs") and settings.store_part_bytes < _PART_BYTES_MIN:
        raise ValueError("S4_STORE_PART_BYTES must be at least 5 MiB in a bucket")
    if settings.store_encryption is not StoreEncryption.BUCKET and scheme != "s3":
        raise ValueError("store_encryption is for s3:// only: elsewhere the bucket, or the disk, says how it encrypts")
    if settings.store_kms_key_id is not None and settings.store_encryption is not StoreEncryption.SSE_KMS:
        raise ValueError("store_kms_key_id needs store_encryption = sse-kms")
    if settings.archive_storage_class is not None:
        if scheme not in ("s3", "gs"):
            raise ValueError("archive_storage_class is for buckets: a directory has one class only")
        if settings.archive_storage_class in CLASSES_AT_REST:
            raise ValueError(
                f"archive_storage_class must be one that answers at once, which {settings.archive_storage_class} "
                "does not: take GLACIER_IR"
            )
    if (settings.store_access_key_id is None) != (settings.store_secret_access_key is None):
        raise ValueError(
            "store_access_key_id and store_secret_access_key belong together: set both, or neither to use the "
            "machine's own"
        )
    if (settings.backup_access_key_id is None) != (settings.backup_secret_access_key is None):
        raise ValueError("backup_access_key_id and backup_secret_access_key belong together: set both, or neither")
    if scheme == "gs" and settings.store_access_key_id is not None:
        raise ValueError(
            "store_access_key_id is S3's: for gs:// set store_google_key_file, or neither to use the machine's own "
            "identity"
        )
    if scheme == "s3" and (urlsplit(settings.store_endpoint or "").hostname or "").endswith(_GOOGLE):
        raise ValueError(
            "conditional writes are not to be trusted at the S3-compatible address of Google's storage: "
            "say gs://bucket/prefix, without store_endpoint"
        )


def _refuse_contradictions_about_the_replica(settings: "Settings") -> None:
    place = settings.replica_store_url
    if place is None and settings.replicate_seconds > 0:
        raise ValueError("S4_REPLICATE_SECONDS needs S4_REPLICA_STORE_URL")
    if place is not None and (place.rstrip("/"), settings.replica_store_endpoint) == (
        (settings.store_url or "").rstrip("/"),
        settings.store_endpoint,
    ):
        raise ValueError("S4_REPLICA_STORE_URL names the first bucket itself")
    if (settings.replica_store_access_key_id is None) != (settings.replica_store_secret_access_key is None):
        raise ValueError("replica_store_access_key_id and replica_store_secret_access_key belong together")
