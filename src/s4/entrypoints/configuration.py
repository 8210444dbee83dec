"""The only reader of the environment: settings from flags, then `S4_*` variables, then defaults."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from s4.kernel.errors import InvalidRequest
from s4.kernel.settings import Environment, Settings

ADMIN_KEY_FILE = "admin.key"
DATABASE_FILE = "catalog.sqlite"
OBJECTS_DIR = "objects"
SCRATCH_DIR = "scratch"


class _FromEnvironment(BaseSettings, Settings):
    model_config = SettingsConfigDict(env_prefix="S4_", extra="forbid", frozen=True)


def load_settings(**flags: Any) -> Settings:
    """Settings with every path absolute and every default of the embedded mode filled in.

    Flags that are None were not given. Raises `InvalidRequest` with one line per problem.
    """
    try:
        loaded = _FromEnvironment(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(
            f"{'S4_' + '.'.join(map(str, e['loc'])).upper() if e['loc'] else 'settings'}: {e['msg']}"
            for e in error.errors()
        )
        raise InvalidRequest(f"The configuration does not work: {problems}") from error
    values = loaded.model_dump()
    data_dir = loaded.data_dir.expanduser().absolute()
    values["data_dir"] = data_dir
    if loaded.store_url is None:
        values["store_url"] = (data_dir / OBJECTS_DIR).as_uri()
    if loaded.database_url is None:
        values["database_url"] = SecretStr(f"sqlite:///{data_dir / DATABASE_FILE}")
    if loaded.admin_api_key is None and loaded.environment is Environment.EMBEDDED:
        values["admin_api_key"] = SecretStr(_embedded_admin_key(data_dir))
    return Settings(**values)


def _embedded_admin_key(data_dir: Path) -> str:
    """Minted once and kept in the data directory, readable by its owner only."""
    path = data_dir / ADMIN_KEY_FILE
    data_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError), open(path, "x", opener=_private) as file:
        file.write(f"s4admin_{secrets.token_urlsafe(32)}\n")
    return path.read_text().strip()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
