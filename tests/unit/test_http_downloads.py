"""Names and types that callers claim, and the headers under which their bytes leave."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4.platform.http.downloads import INLINE_TYPES, content_disposition, download_headers, may_be_inline
from s4.platform.http.names import clean_content_type, safe_filename


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\plan.docx", "plan.docx"),
        ("dir/", "dir"),
        ("..", "unnamed"),
        ("", "unnamed"),
        (" \t ", "unnamed"),
        (".env", ".env"),
        ("a\x00b\r\nc.txt", "abc.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("lone\ud800.txt", "lone.txt"),
        ("Übergröße 表.txt", "Übergröße 表.txt"),
    ],
)
def test_a_display_name_has_no_path_and_no_control_characters(name: str, safe: str) -> None:
    assert safe_filename(name) == safe


@given(st.text(alphabet=st.characters(), max_size=600))
def test_any_name_becomes_a_bounded_one_that_stays_as_it_is(name: str) -> None:
    safe = safe_filename(name)

    assert 0 < len(safe) <= 255
    assert len(safe.encode()) <= 1024
    assert "/" not in safe
    assert "\\" not in safe
    assert safe.strip(".") != ""
    assert safe_filename(safe) == safe


def test_a_long_name_keeps_its_extension() -> None:
    safe = safe_filename("é" * 400 + ".pdf")

    assert len(safe) == 255
    assert safe.endswith("é.pdf")


@pytest.mark.parametrize(
    ("claimed", "cleaned"),
    [
        (None, "application/octet-stream"),
        ("", "application/octet-stream"),
        ("Text/Plain", "text/plain"),
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ('text/plain;charset="utf-8" ;', 'text/plain;charset="utf-8"'),
        ("text/plain\r\nSet-Cookie: a=b", "application/octet-stream"),
        ("text", "application/octet-stream"),
        ("text/plain; q", "application/octet-stream"),
        ("text/plain; x=ü", "application/octet-stream"),
        ("a/" + "b" * 300, "application/octet-stream"),
    ],
)
def test_a_malformed_type_becomes_unknown_bytes(claimed: str | None, cleaned: str) -> None:
    assert clean_content_type(claimed) == cleaned


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("plan.txt", 'attachment; filename="plan.txt"'),
        ('a"b\\c;d.txt', 'attachment; filename="c;d.txt"'),
        ('say "hi".txt', "attachment; filename=\"say _hi_.txt\"; filename*=UTF-8''say%20%22hi%22.txt"),
        ("naïve 表.txt", "attachment; filename=\"na_ve _.txt\"; filename*=UTF-8''na%C3%AFve%20%E8%A1%A8.txt"),
        ("100%41.txt", "attachment; filename=\"100_41.txt\"; filename*=UTF-8''100%2541.txt"),
    ],
)
def test_a_download_is_named_in_ascii_and_where_needed_in_utf8(name: str, header: str) -> None:
    assert content_disposition(name) == header


@given(st.text(alphabet=st.characters(), max_size=300))
def test_no_name_can_break_out_of_its_header(name: str) -> None:
    header = content_disposition(name)

    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    _, extended, encoded = header.partition("; filename*=UTF-8''")
    assert not extended or unquote(encoded) == safe_filename(name)


def shown(declared: str, detected: str | None) -> str:
    """How a download that was asked for inline is sent."""
    headers = download_headers(
        filename="a", content_type=declared, detected_type=detected, etag='"r1"', inline_wanted=True
    )
    return headers["Content-Disposition"].partition(";")[0]


@pytest.mark.parametrize(
    ("declared", "detected"),
    [
        ("application/pdf", "application/pdf"),
        ("text/plain; charset=utf-8", "text/markdown"),
        ("IMAGE/PNG", None),
        ("video/mp4", None),
    ],
)
def test_passive_types_may_be_shown_in_place(declared: str, detected: str | None) -> None:
    assert shown(declared, detected) == "inline"


@pytest.mark.parametrize("declared", ["application/pdf", "text/plain", "image/png"])
@pytest.mark.parametrize("detected", ["text/html", "application/xml", "text/javascript"])
def test_active_bytes_are_never_shown_in_place_whatever_they_are_called(declared: str, detected: str) -> None:
    assert shown(declared, detected) == "attachment"


@pytest.mark.parametrize("declared", ["application/pdf", "text/plain"])
def test_bytes_that_no_reader_has_seen_yet_are_not_shown_in_place_as_what_readers_read(declared: str) -> None:
    assert shown(declared, None) == "attachment"


@pytest.mark.parametrize("declared", sorted(INLINE_TYPES))
def test_every_passive_type_is_shown_in_place_once_its_bytes_are_found_passive(declared: str) -> None:
    assert shown(declared, "application/pdf") == "inline"


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html",
        "image/svg+xml",
        "application/xml",
        "text/xml",
        "application/xhtml+xml",
        "text/javascript",
        "x",
    ],
)
def test_active_types_are_never_shown_in_place(content_type: str) -> None:
    headers = download_headers(
        filename="a", content_type=content_type, detected_type="text/plain", etag='"r1"', inline_wanted=True
    )

    assert not may_be_inline(content_type, None)
    assert headers["Content-Disposition"].startswith("attachment;")
    assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_download_is_an_attachment_unless_asked_otherwise() -> None:
    headers = download_headers(filename="a.pdf", content_type="application/pdf", etag='"r1"')

    assert headers["Content-Disposition"] == 'attachment; filename="a.pdf"'
    assert headers["ETag"] == '"r1"'
