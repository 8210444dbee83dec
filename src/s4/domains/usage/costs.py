"""What a tenant's use costs the operator: an estimate by prices that he sets, never an invoice."""

from dataclasses import dataclass

from s4.domains.usage.ledger import Amounts
from s4.kernel.units import GIB

_HOURS_OF_A_MONTH = 730  # 8,760 hours of a year by twelve, as the price lists of object stores count
_DIGITS = 6  # a millionth of the currency: a small tenant's hour is not nothing


@dataclass(frozen=True, slots=True)
class Prices:
    """Their meaning stands in `kernel/settings.py`."""

    currency: str
    stored_gib_month: float
    store_writes_thousand: float
    store_reads_thousand: float
    embedding_million_tokens: float
    out_gib: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Estimated, in `currency`."""

    currency: str
    storage: float
    store_requests: float
    embedding: float
    traffic: float
    total: float


def estimate(amounts: Amounts, prices: Prices) -> Cost:
    """Of an hour, a day or a month, as the ledger counted it."""
    storage = amounts["stored_byte_hours"] / GIB / _HOURS_OF_A_MONTH * prices.stored_gib_month
    requests = (
        amounts["store_writes"] * prices.store_writes_thousand + amounts["store_reads"] * prices.store_reads_thousand
    ) / 1000
    embedding = amounts["embedding_tokens_paid"] / 1_000_000 * prices.embedding_million_tokens
    traffic = amounts["bytes_out"] / GIB * prices.out_gib
    storage, requests, embedding, traffic = (round(part, _DIGITS) for part in (storage, requests, embedding, traffic))
    total = round(storage + requests + embedding + traffic, _DIGITS)
    return Cost(prices.currency, storage, requests, embedding, traffic, total)
