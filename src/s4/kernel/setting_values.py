"""What settings are made of: sizes, choices, and the checks of single values."""

import logging
from enum import StrEnum
from ipaddress import ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from s4.kernel.units import parse_size

Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
"""Bytes; accepts `10 MiB`."""


class Secret:
    """Marks a setting that is shown as a secret though it is text, and may stand in a file of its own as they do."""


class Environment(StrEnum):
    """`embedded`: one machine, nothing to set up. `production`: secrets are demanded, nothing is minted."""

    EMBEDDED = "embedded"
    PRODUCTION = "production"


class LogFormat(StrEnum):
    JSON = "json"
    CONSOLE = "console"


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
        case "s3" if url.netloc:
            if any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
                raise ValueError("must have no empty or dotted segment in its prefix")
            return text
        case "memory" if not url.netloc and not prefix:
            return text
    raise ValueError("must be file:///path, s3://bucket/prefix or memory://")


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
