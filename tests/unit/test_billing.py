"""Bills of AWS and Google are read as they are exported, and each line finds its part."""

import csv
import gzip
import io
from datetime import UTC, datetime

import pytest

from s4.domains.reports import read_bill
from s4.domains.reports.billing import Part, of_month, part_of
from s4.kernel.errors import InvalidRequest

START, END = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
COST_AND_USAGE = """\
identity/LineItemId,lineItem/UsageStartDate,lineItem/ProductCode,lineItem/UsageType,lineItem/UnblendedCost,lineItem/CurrencyCode
1,2026-02-01T00:00:00Z,AmazonS3,EUC1-TimedStorage-ByteHrs,1.25,USD
2,2026-02-03T00:00:00Z,AmazonS3,EUC1-Requests-Tier2,0.5,USD
3,2026-02-03T00:00:00Z,AmazonS3,EUC1-DataTransfer-Out-Bytes,2,USD
4,2026-01-31T23:00:00Z,AmazonS3,EUC1-TimedStorage-ByteHrs,100,USD
5,2026-02-28T23:00:00Z,AmazonECS,EUC1-Fargate-vCPU-Hours:perCPU,40,USD
"""
DATA_EXPORTS = COST_AND_USAGE.replace(
    COST_AND_USAGE.splitlines()[0],
    "identity_line_item_id,line_item_usage_start_date,line_item_product_code,line_item_usage_type,"
    "line_item_unblended_cost,line_item_currency_code",
).replace("T00:00:00Z", " 00:00:00")
GOOGLE = """\
service.description,sku.description,usage_start_time,cost,currency
Cloud Storage,Standard Storage Frankfurt,2026-02-01 00:00:00 UTC,1.25,USD
Cloud Storage,Regional Standard Class A Operations,2026-02-03 00:00:00 UTC,0.5,USD
Cloud Storage,Download Worldwide Destinations,2026-02-03 00:00:00 UTC,2,USD
Cloud Storage,Standard Storage Frankfurt,2026-01-31 23:00:00 UTC,100,USD
Cloud Run,Services CPU (Instance-based billing) in europe-west3,2026-02-28 23:00:00 UTC,40,USD
"""


@pytest.mark.parametrize(
    "export", [COST_AND_USAGE, DATA_EXPORTS, GOOGLE], ids=["cost-and-usage", "data-exports", "google"]
)
def test_each_export_gives_the_same_month(export: str) -> None:
    bill = of_month(read_bill(io.StringIO(export)), START, END, currency="USD")
    assert bill.parts == {Part.STORAGE: 1.25, Part.REQUESTS: 0.5, Part.TRAFFIC: 2.0, Part.COMPUTE: 40.0}
    assert (bill.lines, bill.elsewhen, bill.total) == (4, 1, 43.75)


@pytest.mark.parametrize(
    ("service", "usage", "part"),
    [
        ("AmazonRDS", "EUC1-InstanceUsage:db.t4g.medium", Part.DATABASE),
        ("AmazonEC2", "EUC1-NatGateway-Hours", Part.TRAFFIC),
        ("AmazonBedrock", "EUC1-Titan-Embeddings-Text", Part.EMBEDDING),
        ("AmazonElastiCache", "EUC1-NodeUsage", Part.DATABASE),
        ("Compute Engine", "Network Inter Zone Data Transfer Out", Part.TRAFFIC),
        ("Compute Engine", "E2 Instance Core running in Frankfurt", Part.COMPUTE),
        ("Cloud SQL", "Storage PD SSD for PostgreSQL", Part.DATABASE),
        ("AmazonCloudWatch", "EUC1-Requests", Part.OTHER),
        ("AmazonGuardDuty", "EUC1-PaidEventsAnalyzed", Part.OTHER),
    ],
)
def test_each_line_finds_its_part(service: str, usage: str, part: Part) -> None:
    (line,) = read_bill(
        io.StringIO(
            f"service.description,sku.description,usage_start_time,cost,currency\n{service},{usage},2026-02-01,1,USD\n"
        )
    )
    assert part_of(line) is part


def test_what_is_no_bill_is_refused_by_the_column_that_is_missing() -> None:
    with pytest.raises(InvalidRequest, match="no column for the line's at"):
        list(read_bill(io.StringIO("a,b\n1,2\n")))
    for amount in ("much", "nan", "1e999", '"12,5"'):
        with pytest.raises(InvalidRequest, match="Line 2 of the bill is no line of one"):
            list(read_bill(io.StringIO(GOOGLE.replace("1.25", amount))))


@pytest.mark.parametrize(
    "content",
    [gzip.compress(GOOGLE.encode()), GOOGLE.encode("utf-16"), b"\xff" * 99],
    ids=["compressed", "UTF-16", "binary"],
)
def test_what_is_no_text_is_refused_in_a_sentence(content: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"The bill is no CSV in UTF-8: .* Unpack it first"):
        list(read_bill(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")))


def test_a_cell_beyond_all_bounds_is_refused() -> None:
    before = csv.field_size_limit(1000)
    try:
        with pytest.raises(InvalidRequest, match=r"The bill is no CSV in UTF-8: field larger than field limit"):
            list(read_bill(io.StringIO("a" * 2000)))
    finally:
        csv.field_size_limit(before)
