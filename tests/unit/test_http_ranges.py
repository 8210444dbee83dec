"""Byte ranges, RFC 9110 section 14."""

import pytest

from s4.kernel.errors import RangeNotSatisfiable
from s4.platform.http.ranges import ByteRange, parse_range


@pytest.mark.parametrize(
    ("header", "start", "length"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-499", 0, 500),
        ("bytes=500-999", 500, 500),
        ("bytes=500-", 500, 500),
        ("bytes=-1", 999, 1),
        ("bytes=-5000", 0, 1000),
        ("bytes=999-1000000000000000000000000", 999, 1),
        ("Bytes=0-1", 0, 2),
        ("bytes=000-0001", 0, 2),
    ],
)
def test_a_single_range_within_the_document_is_taken(header: str, start: int, length: int) -> None:
    assert parse_range(header, size=1000) == ByteRange(start, length, 1000)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-2",
        "bytes=a-b",
        "bytes=0-1,4-5",
        "lines=0-1",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=١-٢",
    ],
)
def test_what_is_not_one_well_formed_range_asks_for_the_whole(header: str | None) -> None:
    assert parse_range(header, size=1000) is None


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=" + "9" * 5000 + "-"])
def test_a_range_beyond_the_end_is_refused_with_the_size(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as refusal:
        parse_range(header, size=1000)

    assert refusal.value.details == {"size": 1000}


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-5", "bytes=0-99"])
def test_an_empty_document_is_sent_whole(header: str) -> None:
    assert parse_range(header, size=0) is None


def test_content_range_counts_the_last_byte_inclusively() -> None:
    assert ByteRange(start=2, length=3, size=10).content_range == "bytes 2-4/10"


@pytest.mark.parametrize(
    ("if_range", "taken"),
    [
        ('"r12"', True),
        ('"r11"', False),
        ('W/"r12"', False),
        ("Wed, 21 Oct 2015 07:28:00 GMT", False),
        ("r12", False),
    ],
)
def test_a_range_of_another_revision_asks_for_the_whole(if_range: str, taken: bool) -> None:
    chosen = parse_range("bytes=0-1", size=10, if_range=if_range, etag='"r12"')

    assert (chosen is not None) is taken


def test_an_unsatisfiable_range_of_another_revision_asks_for_the_whole() -> None:
    assert parse_range("bytes=99-", size=10, if_range='"r1"', etag='"r2"') is None
