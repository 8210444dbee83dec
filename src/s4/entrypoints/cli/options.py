"""Options that several commands share: which server, who asks, in which form to answer."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4.entrypoints.cli.output import JSON_FLAG

if TYPE_CHECKING:
    from s4.entrypoints.configuration import Configuration
    from s4.kernel.settings import Settings
    from s4client import AsyncS4Client, S4AdminClient, S4Client

DEFAULT_URL = "http://127.0.0.1:8000"
DATA_DIR = Path("s4-data")
ATTEMPTS_MAX = 3
"""Of a command with one request: a person who waits would sooner read why than see it succeed in the end."""
PATIENT_ATTEMPTS_MAX = 15
"""Of each of many requests, once the server has answered: a minute at least. In that time a server is restarted and
gives up whoever died in the middle of a change (`S4_COMMIT_LEASE_SECONDS`)."""

Url = Annotated[str, typer.Option("--url", envvar="S4_URL", help="Address of the server.")]
TenantKey = Annotated[
    str | None,
    typer.Option(
        "--tenant-key",
        envvar="S4_TENANT_KEY",
        show_default=False,
        help="The tenant's key. The variable keeps it out of the process list.",
    ),
]
AdminKey = Annotated[
    str | None,
    typer.Option(
        "--admin-key",
        envvar="S4_ADMIN_API_KEY",
        show_default=False,
        help="The administrator's key. Default: the one that `s4 serve` saved in the data directory.",
    ),
]
DataDir = Annotated[Path, typer.Option("--data-dir", envvar="S4_DATA_DIR", help="Where `s4 serve` keeps its data.")]
ServerDataDir = Annotated[Path | None, typer.Option("--data-dir", help="As for `s4 serve`.", show_default="s4-data")]
"""Of commands that work beside the server, or without one: unset, the settings say it."""
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        envvar="S4_CA_FILE",
        show_default=False,
        help="Certificates (PEM) of the authorities to trust, for https:// with one of your own.",
    ),
]
SourceEndpoint = Annotated[
    str | None,
    typer.Option(envvar="S4_SOURCE_ENDPOINT", show_default=False, help="Of a source that speaks S3 and is not AWS."),
]
SourceRegion = Annotated[str, typer.Option(envvar="S4_SOURCE_REGION", help="Region of the source.")]
SourceKeyId = Annotated[
    str | None,
    typer.Option(
        envvar="S4_SOURCE_ACCESS_KEY_ID",
        show_default=False,
        help="Access key of the source. Default: as AWS's own tools find it.",
    ),
]
SourceSecret = Annotated[
    str | None,
    typer.Option(
        envvar="S4_SOURCE_SECRET_ACCESS_KEY",
        show_default=False,
        help="Its secret. The variable keeps it out of the process list.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", envvar="S4_CONFIG", show_default=False, help="A TOML file with settings."),
]
Overlap = Annotated[str, typer.Option(help="How long the old key still opens: 30m, 24h, 7d.")]
ExpiresIn = Annotated[
    str | None, typer.Option(show_default=False, help="When the key expires, counted from now: 12h, 90d.")
]
Json = Annotated[bool, typer.Option(JSON_FLAG, help="One JSON document on stdout and nothing else.")]
Csv = Annotated[bool, typer.Option("--csv", help="A table with a line of headings, for a spreadsheet.")]
JsonLines = Annotated[
    bool, typer.Option(JSON_FLAG, help="One JSON object a line on stdout: each file as it ends, last the summary.")
]


class WrongUsage(typer.BadParameter):
    """Exit code 2. The message stands as it is, without Typer's `Invalid value`."""

    def format_message(self) -> str:
        return self.message


def configuration(context: typer.Context, file: Path | None, **flags: Any) -> "Configuration":
    """What a command of the server runs with. The variables of all other commands are known to it, too."""
    from s4.entrypoints.configuration import read_configuration

    known = set(variables(context.find_root().command))
    return read_configuration(file=file, of_the_client=known, **flags)


def deployed(loaded: "Configuration") -> "Settings":
    """Complete settings, of a deployment that is there: of a wrong directory nothing is made, no keys either. Raises
    `InvalidRequest`."""
    from s4.entrypoints.bootstrap import find_catalog
    from s4.entrypoints.configuration import complete

    find_catalog(loaded.settings)
    return complete(loaded.settings)


def variables(command: Any) -> Iterator[str]:
    """Names of the variables that options of `command`, and of all below it, are taken from."""
    for inner in getattr(command, "commands", {}).values():
        yield from variables(inner)
    for parameter in command.params:
        named = parameter.envvar or ()
        yield from [named] if isinstance(named, str) else named


@dataclass(frozen=True, slots=True)
class Server:
    """Which server, and how to reach it."""

    url: str
    tenant_key: str | None
    ca_file: Path | None


def tenant_client(server: Server) -> "S4Client":
    from s4client import RetryPolicy, S4Client

    retry = RetryPolicy(attempts_max=ATTEMPTS_MAX)
    return S4Client(server.url, api_key=present_key(server.tenant_key), retry=retry, ca_file=server.ca_file)


def async_tenant_client(server: Server, *, patient: bool = False) -> "AsyncS4Client":
    from s4client import AsyncS4Client, RetryPolicy

    retry = RetryPolicy(attempts_max=PATIENT_ATTEMPTS_MAX if patient else ATTEMPTS_MAX)
    return AsyncS4Client(server.url, api_key=present_key(server.tenant_key), retry=retry, ca_file=server.ca_file)


def admin_client(
    url: str, key: str | None, data_dir: Path, ca_file: Path | None, *, patient: bool = False
) -> "S4AdminClient":
    from s4client import RetryPolicy, S4AdminClient

    admin_key = present_admin_key(key, data_dir)
    retry = RetryPolicy(attempts_max=PATIENT_ATTEMPTS_MAX if patient else ATTEMPTS_MAX)
    return S4AdminClient(url, api_key=admin_key, retry=retry, ca_file=ca_file)


def pairs(given: Sequence[str], *, hint: str) -> dict[str, str]:
    """`["year=2024", "author=Ada"]`, the values as they stand there."""
    found = {}
    for pair in given:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{pair!r} is not of the form name=value.", param_hint=hint)
        found[name] = value
    return found


def examples(*lines: str) -> str:
    """What stands below a command's help. Every line is run by a test, in a shell, in a directory of samples."""
    return "\n\n".join(("Examples:", *lines))


def present_key(key: str | None) -> str:
    if not key or not key.strip():
        raise WrongUsage("No tenant key: set S4_TENANT_KEY or give --tenant-key.")
    return key.strip()


def present_admin_key(key: str | None, data_dir: Path) -> str:
    return key.strip() if key else _saved_admin_key(data_dir)


def _saved_admin_key(data_dir: Path) -> str:
    from s4.entrypoints.configuration import ADMIN_KEY_FILE
    from s4.kernel.errors import Unauthenticated

    path = data_dir.expanduser() / ADMIN_KEY_FILE
    try:
        return path.read_text().strip()
    except FileNotFoundError as error:
        raise WrongUsage(
            f"No administrator's key: set S4_ADMIN_API_KEY or give --admin-key; {path} does not exist."
        ) from error
    except OSError as error:
        raise Unauthenticated(f"The administrator's key in {path} cannot be read: {error.strerror}.") from error


def scalar(text: str) -> str | int | float | bool | None:
    """`2024`, `1.5`, `true`, `null` and `"2024"` as JSON has them, anything else as text."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if value is None or isinstance(value, str | int | float | bool) else text


def moment(text: str) -> datetime:
    """`2026-01-31`, or with a time; without a zone it is UTC."""
    try:
        said = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a time such as 2026-01-31T12:00:00Z.") from error
    return said if said.tzinfo is not None else said.replace(tzinfo=UTC)


def parse_duration(text: str) -> timedelta:
    """`90s`, `15m`, `24h`, `7d`."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise WrongUsage(f"{text!r} is not a time like 90s, 15m, 24h or 7d.")
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[match[2]]
    return timedelta(**{unit: int(match[1])})


def parse_metadata(given: Sequence[str]) -> dict[str, Any]:
    """`["year=2024", "author=Ada"]`."""
    return {name: scalar(value) for name, value in pairs(given, hint="--metadata").items()}
