"""`s4 tenant import`: many tenants from a file, each line told, none twice.

Every tenant that is imported has an external id: the line's own, or one that is derived from what the line says. No two
tenants share one, so a second run finds what the first made, whenever it comes. Within a day it even gets the keys of
those whose answers were lost: each request bears an Idempotency-Key that is derived from the external id.
"""

import csv
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from s4.entrypoints.cli.options import (
    DEFAULT_URL,
    AdminKey,
    CaFile,
    DataDir,
    JsonLines,
    Url,
    WrongUsage,
    admin_client,
)
from s4.entrypoints.cli.output import print_json_line, print_note, print_row

if TYPE_CHECKING:
    from s4client import S4AdminClient

_STDIO = Path("-")
_FIELDS = ("name", "email", "company", "plan_id", "external_id")


def import_tenants(
    file: Annotated[Path, typer.Argument(help="CSV with a header (.csv), or JSON lines; - is JSON lines from stdin.")],
    keys: Annotated[Path, typer.Option(help="Where the new keys go: a file that only you can read, or - for stdout.")],
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = Path("s4-data"),
    ca_file: CaFile = None,
    as_json: JsonLines = False,
) -> None:
    """Create a tenant for each line of a file. Run it again as often as you like: nobody is created twice.

    Columns: name, and optionally email, company, plan_id, external_id.
    """
    with (
        _opened(file) as source,
        Keys(keys) as taken,
        admin_client(url, admin_key, data_dir, ca_file, patient=True) as s4,
    ):
        run = _Import(s4, taken, as_json=as_json)
        try:
            for line, fields in _lines(source, is_csv=file.suffix.lower() == ".csv"):
                run.take(line, fields)
        finally:
            run.tell_end()
    if run.counts["failed"]:
        raise typer.Exit(1)


_NOT_UTF8 = "The line is not UTF-8: save the file as UTF-8."


def _opened(file: Path) -> TextIO:
    return sys.stdin if file == _STDIO else file.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _lines(source: TextIO, *, is_csv: bool) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Number and fields of each line that is not empty; instead of fields, what is wrong with it."""
    if not is_csv:
        for number, text in enumerate(source, start=1):
            if text.strip():
                yield number, _from_json(text) if _is_utf8(text) else _NOT_UTF8
        return
    reader = csv.DictReader(source)
    unknown = sorted(set(reader.fieldnames or ()) - set(_FIELDS))
    if unknown or "name" not in (reader.fieldnames or ()):
        wrong = f"The file has columns that are not known: {', '.join(unknown)}." if unknown else "There is no `name`."
        raise WrongUsage(f"{wrong} Columns are: {', '.join(_FIELDS)}.")
    for row in reader:
        if not all(map(_is_utf8, filter(None, [*row.values()] if None not in row else []))):
            yield reader.line_num, _NOT_UTF8
        elif None in row:
            yield reader.line_num, "The line has more columns than the header."
        else:
            yield reader.line_num, {name: value.strip() for name, value in row.items() if value and value.strip()}


def _is_utf8(text: str) -> bool:
    """Bytes that are not stand in the text as halves of surrogate pairs."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _from_json(text: str) -> dict[str, Any] | str:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return "The line is not JSON."
    if not isinstance(fields, dict):
        return "The line is not a JSON object."
    if unknown := sorted(set(fields) - set(_FIELDS)):
        return f"The line has fields that are not known: {', '.join(unknown)}."
    if not all(isinstance(value, str) for value in fields.values() if value is not None):
        return "The fields of a line are texts."
    return {name: value for name, value in fields.items() if value is not None}


class Keys:
    """The file of the keys: a JSON object a line, each on disk before the next tenant is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.external_ids: dict[str, str] = {}
        """Tenant by external id, of all whose keys are here."""

    @property
    def is_stdout(self) -> bool:
        return self._path == _STDIO

    def __enter__(self) -> "Keys":
        if self.is_stdout:
            return self
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._file = os.fdopen(os.open(self._path, flags, 0o600), "r+", encoding="utf-8")
        os.fchmod(self._file.fileno(), 0o600)  # one that was there may have been open to others
        self._file.seek(0)
        text = self._file.read()
        whole, _, torn = text.rpartition("\n")
        if torn:  # a crash in the middle of a line: its tenant's key is asked for again
            self._file.truncate(len(whole.encode()) + bool(whole))
        for line in filter(None, whole.split("\n")):  # a name may hold what else ends a line
            said = json.loads(line)
            self.external_ids[said["external_id"]] = said["id"]
        return self

    def __exit__(self, *_: object) -> None:
        if not self.is_stdout:
            self._file.close()

    def add(self, external_id: str, tenant_id: str, name: str, api_key: str) -> None:
        if self.is_stdout:
            return
        said = {"external_id": external_id, "id": tenant_id, "name": name, "api_key": api_key}
        self._file.write(json.dumps(said, ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.external_ids[external_id] = tenant_id


@dataclass
class _Import:
    s4: "S4AdminClient"
    keys: Keys
    as_json: bool
    counts: dict[str, int] = field(default_factory=lambda: {"created": 0, "existing": 0, "failed": 0})

    def take(self, line: int, fields: dict[str, Any] | str) -> None:
        """Creates the line's tenant, unless it is there. What is wrong with one line keeps no other back."""
        from s4client import Conflict, InvalidRequest

        if isinstance(fields, str):
            self._tell(line, "failed", message=fields)
            return
        if not fields.get("name"):
            self._tell(line, "failed", message="The line has no name.")
            return
        external_id = fields.setdefault("external_id", _derived(fields))
        if (tenant_id := self.keys.external_ids.get(external_id)) is not None:
            self._tell(line, "existing", id=tenant_id, name=fields["name"])
            return
        try:
            tenant = self.s4.create_tenant(**fields, idempotency_key=f"import-{_hash(external_id)}")
        except Conflict as error:
            self._tell(line, "existing", id=error.details.get("tenant_id"), name=fields["name"], message=error.message)
        except InvalidRequest as error:
            self._tell(line, "failed", name=fields["name"], message=error.message)
        else:
            self.keys.add(external_id, tenant.id, tenant.name, tenant.api_key)
            shown = {"api_key": tenant.api_key} if self.keys.is_stdout else {}
            outcome = "existing" if tenant.replayed else "created"
            self._tell(line, outcome, id=tenant.id, name=tenant.name, **shown)

    def tell_end(self) -> None:
        """Also of a run that was interrupted: what it did stands."""
        if self.as_json:
            print_json_line({"summary": self.counts})
        else:
            print_note(", ".join(f"{count} {outcome}" for outcome, count in self.counts.items()) + ".")

    def _tell(self, line: int, outcome: str, **said: str | None) -> None:
        self.counts[outcome] += 1
        if self.as_json:
            print_json_line({"line": line, "outcome": outcome} | said)
            return
        print_row([str(line), outcome, *(text for text in said.values() if text)])


def _derived(fields: dict[str, Any]) -> str:
    return "import-" + _hash(json.dumps(fields, sort_keys=True))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
