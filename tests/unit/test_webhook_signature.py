"""What a receiver takes for S4's, and what it does not."""

from datetime import UTC, datetime, timedelta

import pytest

from s4.domains.webhooks.signing import sign
from s4client import SignatureInvalid, verify_webhook

BODY = (
    b'{"event":"document.processed","tenant_id":"ten_a","timestamp":"2026-03-01T09:30:00Z","data":{"key":"\xc3\xa9"}}'
)
SECRET = "whsec_0123456789abcdef"
NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
EPOCH = int(NOW.timestamp())
HEADER = sign(BODY, secrets=[SECRET], epoch=EPOCH)


def test_the_form_is_the_contracts_and_does_not_change() -> None:
    assert sign(b"{}", secrets=["key"], epoch=1) == (
        "t=1,v1=1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224"
    )


def test_what_s4_signed_is_taken_and_read() -> None:
    event = verify_webhook(BODY, HEADER, SECRET, now=NOW)
    assert (event.event, event.tenant_id, event.data) == ("document.processed", "ten_a", {"key": "\u00e9"})


def test_of_two_signatures_one_is_enough() -> None:
    both = sign(BODY, secrets=["the-new-one-0123456", SECRET], epoch=EPOCH)
    assert both.count("v1=") == 2
    for secret in ("the-new-one-0123456", SECRET):
        assert verify_webhook(BODY, both, secret, now=NOW)


@pytest.mark.parametrize(
    ("body", "header", "secret"),
    [
        (BODY + b" ", HEADER, SECRET),
        (BODY, HEADER, SECRET + "x"),
        (BODY, HEADER.replace(str(EPOCH), str(EPOCH + 1)), SECRET),
        (BODY, HEADER[:-1] + ("0" if HEADER[-1] != "0" else "1"), SECRET),
        (BODY, HEADER.replace("v1=", "v0="), SECRET),
        (BODY, f"{HEADER},t={EPOCH}", SECRET),
        (BODY, f"t={EPOCH}", SECRET),
        (BODY, f"t={EPOCH},v1=", SECRET),
        (BODY, f"t=\u00b2,{HEADER.partition(',')[2]}", SECRET),
        (BODY, "t=99999999999999999999,v1=a", SECRET),
        (BODY, f"t={EPOCH},v1=\u00e9", SECRET),
        (BODY, "", SECRET),
    ],
)
def test_what_is_not_signed_so_is_refused(body: bytes, header: str, secret: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify_webhook(body, header, secret, now=NOW)


@pytest.mark.parametrize("away", [timedelta(minutes=5, seconds=1), -timedelta(minutes=5, seconds=1)])
def test_a_call_that_is_sent_again_later_is_refused(away: timedelta) -> None:
    with pytest.raises(SignatureInvalid, match="clocks"):
        verify_webhook(BODY, HEADER, SECRET, now=NOW + away)
    assert verify_webhook(BODY, HEADER, SECRET, tolerance=timedelta(hours=1), now=NOW + away)


def test_by_the_clock_of_this_machine_the_present_is_taken() -> None:
    header = sign(BODY, secrets=[SECRET], epoch=int(datetime.now(UTC).timestamp()))
    assert verify_webhook(BODY, header, SECRET)
