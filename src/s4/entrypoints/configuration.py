"""The only reader of the environment: settings from flags, then `S4_*` variables, then a TOML file, then defaults,
some of which follow from the machine (`fitting.py`).

Each of the three is read into a *layer*: setting to value, and where the value stands, so that an error and
`s4 config show` can name the place. A secret may stand in a file of its own in each layer (`S4_ADMIN_API_KEY_FILE`,
`admin_api_key_file`). The upper layer wins, setting by setting.

`read_configuration` only looks. `load_settings` also mints the keys of the embedded mode. A worker that
is a child of `s4 serve` reads nothing: it gets its parent's settings as one line (`handed_on`, `taken_over`), so that
both agree even when the file has changed since.
"""

import contextlib
import difflib
import json
import os
import secrets
import tomllib
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from s4.entrypoints.fitting import fit
from s4.kernel.errors import InvalidRequest
from s4.kernel.settings import Environment, LogFormat, Settings, secret_settings
from s4.platform.machine import read_machine

ADMIN_KEY_FILE = "admin.key"
SECRET_KEY_FILE = "secret.key"  # noqa: S105 (a file's name)
DATABASE_FILE = "catalog.sqlite"
OBJECTS_DIR = "objects"
SCRATCH_DIR = "scratch"

_PREFIX = "S4_"
_IN_FILE = "_file"  # what a setting's name ends with when the value is the path of a file that holds it
_SECRET_BYTES_MAX = 64 * 1024  # a key or a URL is far shorter; whoever names a video by mistake gets a sentence
_OF_THE_MACHINE = (
    "AWS_ACCESS_KEY_ID",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "SERVICE_ACCOUNT",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GCE_METADATA_HOST",
    "GCE_METADATA_ROOT",
    "HOME",
)
"""As AWS's and Google's own tools know them. No secret is among them."""
_SECRETS_OF_THE_MACHINE = ("GOOGLE_BEARER_TOKEN", "GOOGLE_SERVICE_ACCOUNT_KEY")
"""Of these it is told whether they are there."""
_NEAREST = 0.6  # of 1.0, likeness by difflib: finds swapped and missing letters, not any other word


class SourceKind(StrEnum):
    """Later ones win."""

    DEFAULT = "default"
    MACHINE = "machine"
    FILE = "file"
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value stands, in words that find it: `S4_PORT`, `port in /etc/s4/s4.toml`, `--port`."""

    kind: SourceKind
    place: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings with every path absolute, where each comes from, and the `S4_*` variables that name no setting."""

    settings: Settings
    sources: Mapping[str, Source]
    unknown: Mapping[str, str | None]
    """Variable to the known name that is nearest to it, if one is near."""
    machine: Mapping[str, str]
    """Variables that say where the machine has credentials from. They are for obstore to use, and here to be told."""
    derived: Mapping[str, Source]
    """Where a value follows from the machine, because nobody gave one."""


@dataclass(frozen=True, slots=True)
class _Given:
    value: Any
    source: Source


_Layer = dict[str, _Given]


class _FromEnvironment(BaseSettings, Settings):
    """What pydantic-settings reads variables by. An empty variable counts as none: templates leave such behind."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)


def load_settings(*, file: Path | None = None, **flags: Any) -> Settings:
    """What a process runs with. Raises `InvalidRequest` with every problem that there is."""
    return complete(read_configuration(file=file, **flags).settings)


def read_configuration(*, file: Path | None = None, of_the_client: Collection[str] = (), **flags: Any) -> Configuration:
    """Reads and validates, and changes nothing. Flags that are None were not given.

    `of_the_client` are variables that the command line knows beside the settings. Raises `InvalidRequest`, with one
    sentence for each problem in `details["problems"]`.
    """
    problems: list[str] = []
    environment = EnvSettingsSource(_FromEnvironment)
    given = {
        **_file_layer(file, problems),
        **_environment_layer(environment, problems),
        **_flag_layer(flags),
    }
    try:
        settings = Settings(**{name: each.value for name, each in given.items()})
    except ValidationError as error:
        problems += [_sentence(each, given) for each in error.errors(include_url=False, include_input=False)]
    if problems:
        raise InvalidRequest(f"The configuration does not work: {' '.join(problems)}", details={"problems": problems})
    machine = fit(settings, read_machine(), given=given.keys())
    return Configuration(
        _with_paths(settings).model_copy(update=machine.changes),
        {name: each.source for name, each in given.items()},
        _unknown(environment, known=of_the_client),
        _of_the_machine(environment.env_vars),
        dict.fromkeys(machine.changes, Source(SourceKind.MACHINE, machine.reason)),
    )


def complete(settings: Settings, *, mints: bool = True) -> Settings:
    """With the keys that the embedded mode mints at its first start: the administrator's, and the one that secrets are
    sealed under. Without `mints` those that are not there stay unknown."""
    if settings.environment is not Environment.EMBEDDED:
        return settings
    minted = {}
    if settings.admin_api_key is None:
        minted["admin_api_key"] = _embedded_key(settings.data_dir / ADMIN_KEY_FILE, "s4admin_", mints=mints)
    if settings.secret_key is None:
        minted["secret_key"] = _embedded_key(settings.data_dir / SECRET_KEY_FILE, "s4secret_", mints=mints)
    known = {name: SecretStr(key) for name, key in minted.items() if key is not None}
    return settings.model_copy(update=known)


def early_log_format() -> LogFormat:
    """In which format a process tells that its settings cannot be read: as its environment says, if that can be."""
    with contextlib.suppress(ValueError):
        return LogFormat(os.environ.get(f"{_PREFIX}LOG_FORMAT", ""))
    return LogFormat.JSON


def handed_on(settings: Settings) -> bytes:
    """One line for `taken_over` in a child, through a pipe: secrets are in it."""
    return json.dumps(settings.model_dump(), default=_plain).encode() + b"\n"


def taken_over(line: bytes) -> Settings:
    """The settings of the process that wrote `line`."""
    return Settings.model_validate_json(line)


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


# -- layers


def _file_layer(path: Path | None, problems: list[str]) -> _Layer:
    """Keys are names of settings; in a table they are what follows its name: `[store] url` is `store_url`."""
    if path is None:
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problems.append(f"The configuration file {path} does not exist.")
    except OSError as error:
        problems.append(f"The configuration file {path} cannot be read: {error.strerror}.")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"The configuration file {path} is not TOML: {error}.")
    else:
        return _from_document(document, path, problems)
    return {}


def _from_document(document: Mapping[str, Any], path: Path, problems: list[str]) -> _Layer:
    names = set(Settings.model_fields)
    known = names | {name + _IN_FILE for name in secret_settings()}
    values: dict[str, Any] = {}
    for name, value in _flat(document, names):
        if name in values:
            problems.append(f"{name} stands twice in {path}: once in a table and once outside of it.")
        elif name not in known:
            problems.append(f"{path} names a setting that does not exist: {name}.{_did_you_mean(name, known)}")
        elif isinstance(value, bool) and not _takes_bool(name):
            # Pydantic would take true for the number 1.
            problems.append(f"{name} in {path} must not be true or false.")
        else:
            values[name] = value
    return _layer(SourceKind.FILE, values, lambda name: f"{name} in {path}", problems)


def _flat(table: Mapping[str, Any], names: Collection[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and prefix + key not in names:
            yield from _flat(value, names, f"{prefix}{key}_")
        else:
            yield prefix + key, value


def _environment_layer(environment: EnvSettingsSource, problems: list[str]) -> _Layer:
    try:
        values = environment()
    except SettingsError as error:
        problems.append(f"A variable is not JSON, as its setting wants it: {error}.")
        return {}
    variables = environment.env_vars
    files = {name + _IN_FILE: variables.get(_variable(name + _IN_FILE).lower()) for name in secret_settings()}
    values |= {name: path for name, path in files.items() if path is not None}
    return _layer(SourceKind.ENVIRONMENT, values, _variable, problems)


def _flag_layer(flags: Mapping[str, Any]) -> _Layer:
    return {
        name: _Given(value, Source(SourceKind.FLAG, "--" + name.replace("_", "-")))
        for name, value in flags.items()
        if value is not None
    }


def _layer(
    kind: SourceKind, values: Mapping[str, Any], place: typing.Callable[[str], str], problems: list[str]
) -> _Layer:
    """Values by setting, secrets that stand in files read."""
    layer: _Layer = {}
    for name, value in values.items():
        if name in Settings.model_fields:
            layer[name] = _Given(value, Source(kind, place(name)))
    for name in secret_settings():
        if (path := values.get(name + _IN_FILE)) is not None:
            where = place(name + _IN_FILE)
            if name in layer:
                problems.append(f"Both {place(name)} and {where} are set: keep one of them.")
            elif (secret := _read_secret(path, where, problems)) is not None:
                layer[name] = _Given(secret, Source(kind, where))
    empty = [layer[name].source.place for name in secret_settings() & layer.keys() if layer[name].value == ""]
    problems += [f"{place} is empty: leave it out, or say what it is." for place in sorted(empty)]
    return layer


def _read_secret(path: object, where: str, problems: list[str]) -> str | None:
    """The file's text without the newline that editors put at the end."""
    if not isinstance(path, str):
        problems.append(f"{where} must be the path of a file.")
        return None
    try:
        with Path(path).expanduser().open("rb") as file:
            content = file.read(_SECRET_BYTES_MAX + 1)
        if len(content) > _SECRET_BYTES_MAX:
            problems.append(f"{where}: {path} is too large to hold a secret.")
            return None
        return content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        problems.append(f"{where}: {path} cannot be read: {error.strerror}.")
    except UnicodeDecodeError:
        problems.append(f"{where}: {path} does not hold text in UTF-8.")
    return None


# -- names and sentences


def _variable(name: str) -> str:
    return _PREFIX + name.upper()


def _unknown(environment: EnvSettingsSource, *, known: Iterable[str]) -> dict[str, str | None]:
    names = {*known, *map(_variable, Settings.model_fields), *(_variable(n + _IN_FILE) for n in secret_settings())}
    found = sorted(name.upper() for name in environment.env_vars if name.upper().startswith(_PREFIX))
    return {name: _nearest(name, names) for name in found if name not in names}


def _nearest(name: str, known: Iterable[str]) -> str | None:
    by_lower = {each.lower(): each for each in sorted(known)}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=_NEAREST)
    return by_lower[near[0]] if near else None


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    nearest = _nearest(name, known)
    return f" Did you mean {nearest}?" if nearest else ""


def unknown_sentence(name: str, nearest: str | None) -> str:
    """For a variable of `Configuration.unknown`."""
    return f"{name} is set, and S4 knows no such variable." + (f" Did you mean {nearest}?" if nearest else "")


def _sentence(error: Any, given: _Layer) -> str:
    """Names the place and never the value, which may be a secret."""
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return f"{message[0].upper()}{message[1:].rstrip('.')}."
    name = str(error["loc"][0])
    place = given[name].source.place if name in given else name
    return f"{place}: {message.removeprefix('Input ').replace('should be', 'must be').rstrip('.')}."


def _takes_bool(name: str) -> bool:
    annotation = Settings.model_fields[name].annotation
    return annotation is bool or bool in typing.get_args(annotation)


# -- the embedded mode's own


def _of_the_machine(variables: Mapping[str, str | None]) -> dict[str, str]:
    """`variables` by names in lower case."""
    told = {name: value for name in _OF_THE_MACHINE if (value := variables.get(name.lower())) is not None}
    return told | {name: "" for name in _SECRETS_OF_THE_MACHINE if name.lower() in variables}


def _with_paths(settings: Settings) -> Settings:
    data_dir = settings.data_dir.expanduser().absolute()
    changes: dict[str, Any] = {"data_dir": data_dir}
    for name in ("tls_cert", "tls_key", "ca_file", "store_google_key_file"):
        if (path := getattr(settings, name)) is not None:
            changes[name] = path.expanduser().absolute()
    if settings.store_url is None:
        changes["store_url"] = (data_dir / OBJECTS_DIR).as_uri()
    if settings.database_url is None:
        changes["database_url"] = SecretStr(f"sqlite:///{data_dir / DATABASE_FILE}")
    return settings.model_copy(update=changes)


def _embedded_key(path: Path, tag: str, *, mints: bool) -> str | None:
    """Minted once and kept in the data directory, readable by its owner only."""
    if not mints and not path.exists():
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError), open(path, "x", opener=_private) as file:
        file.write(f"{tag}{secrets.token_urlsafe(32)}\n")
    return path.read_text().strip()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
