"""A cloud's bill for a month, from the export that the cloud writes: AWS's Cost and Usage report, or Google's billing
export to BigQuery saved as CSV. Each line goes to the part of S4's model of costs that it is the real price of."""

import csv
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TextIO

from s4.kernel.errors import InvalidRequest


class Part(StrEnum):
    """Of the model of costs, and of a bill."""

    STORAGE = "storage"
    REQUESTS = "store requests"
    TRAFFIC = "traffic"
    EMBEDDING = "embedding"
    COMPUTE = "compute"
    DATABASE = "database"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Line:
    """Of a bill, in the bill's currency; credits are below zero."""

    at: datetime
    service: str
    usage: str
    amount: float
    currency: str


@dataclass(slots=True)
class Bill:
    """A month of it. `others`: what S4's model does not know, by service; `elsewhen`: lines of other months."""

    parts: defaultdict[Part, float] = field(default_factory=lambda: defaultdict(float))
    others: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    lines: int = 0
    elsewhen: int = 0

    @property
    def total(self) -> float:
        return sum(self.parts.values())


# In this order, the first that fits; service and kind of usage, as both clouds name them.
_RULES: tuple[tuple[Part, str, str], ...] = (
    (Part.DATABASE, r"amazonrds|amazonelasticache|cloud sql|memorystore|alloydb", r""),
    (Part.EMBEDDING, r"bedrock|sagemaker|vertex ai", r""),
    (Part.TRAFFIC, r"", r"datatransfer|data transfer|-out-bytes|egress|natgateway|nat gateway|download"),
    (Part.REQUESTS, r"amazons3|cloud storage", r"requests-|class [ab] |operations"),
    (Part.STORAGE, r"amazons3|cloud storage", r"timedstorage|storage"),
    (
        Part.COMPUTE,
        r"amazonec2|amazonecs|amazoneks|fargate|awselb|elasticbeanstalk|compute engine|cloud run|kubernetes engine",
        r"",
    ),
)
# Names of a column in either version of AWS's export, and in Google's; letters and digits alone count.
_COLUMNS = {
    "at": ("lineitemusagestartdate", "usagestarttime"),
    "service": ("lineitemproductcode", "servicedescription"),
    "usage": ("lineitemusagetype", "skudescription"),
    "amount": ("lineitemunblendedcost", "cost"),
    "currency": ("lineitemcurrencycode", "currency"),
}


def read_bill(stream: TextIO) -> Iterator[Line]:
    """The lines of an export. Raises `InvalidRequest` that says which column is missing, or which line is no line."""
    try:
        yield from _lines(csv.DictReader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidRequest(f"The bill is no CSV in UTF-8: {error}. Unpack it first, if it is compressed.") from error


def _lines(rows: "csv.DictReader[str]") -> Iterator[Line]:
    known = {re.sub(r"[^a-z0-9]", "", heading.lower()): heading for heading in rows.fieldnames or ()}
    columns = {}
    for name, spellings in _COLUMNS.items():
        found = next((known[each] for each in spellings if each in known), None)
        if found is None:
            raise InvalidRequest(
                "This is neither AWS's Cost and Usage report nor Google's billing export as CSV: there is no column "
                f"for the line's {name} ({' or '.join(spellings)})."
            )
        columns[name] = found
    for row in rows:
        yield _line(row, columns, rows.line_num)


def of_month(lines: Iterable[Line], start: datetime, end: datetime, *, currency: str) -> Bill:
    """The lines that began in the month, added up. Raises `InvalidRequest` for another currency than the model's: rates
    of exchange are not S4's to know."""
    bill = Bill()
    for line in lines:
        if not start <= line.at < end:
            bill.elsewhen += 1
            continue
        if line.currency != currency:
            raise InvalidRequest(f"The bill is in {line.currency}, S4's prices are in {currency} (S4_PRICE_CURRENCY).")
        bill.lines += 1
        part = part_of(line)
        bill.parts[part] += line.amount
        if part is Part.OTHER:
            bill.others[line.service] += line.amount
    return bill


def part_of(line: Line) -> Part:
    service, usage = line.service.lower(), line.usage.lower()
    for part, services, usages in _RULES:
        if re.search(services, service) and re.search(usages, usage):
            return part
    return Part.OTHER


def _line(row: Mapping[str, str], columns: Mapping[str, str], number: int) -> Line:
    try:
        at = datetime.fromisoformat(row[columns["at"]].strip().replace(" UTC", "+00:00"))
        amount = float(row[columns["amount"]] or 0)
        if not math.isfinite(amount):
            raise ValueError(f"{amount} is no amount")
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidRequest(f"Line {number} of the bill is no line of one: {error}.") from error
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return Line(at, row[columns["service"]] or "", row[columns["usage"]] or "", amount, row[columns["currency"]] or "")
