"""Names that strangers give their files: stored harmless, shown harmless, sent back harmless, or refused."""

import re

import httpx
import pytest

from s4.platform.http.names import FILENAME_CODE_POINTS_MAX
from tests.api.calls import assert_refused, by_key, form, put

NAMES = [
    ("a path upwards", b"../../../../etc/passwd"),
    ("a path upwards, backwards", rb"..\..\..\windows\system32\config"),
    ("dots only", b"../.."),
    ("control characters", b"a\x01\x07\x1b[31mred.txt"),
    ("DEL and C1", b"a\x7f\xc2\x85\xc2\x9bb.txt"),
    ("NUL", b"a.txt\x00.exe"),
    ("4 KB", b"n" * 4000 + b".txt"),
    ("4 KB of four-byte letters", "\U0001f600".encode() * 850 + b".txt"),
    ("right-to-left override", "invoice\u202efdp.exe".encode()),
    ("isolates and marks", "a\u2066\u2067\u200e\u200f\ufeffb.txt".encode()),
    ("line separators", "a\u2028b\u2029c.txt".encode()),
    ("half a surrogate pair", b"a\xed\xa0\x80b.txt"),
    ("not UTF-8", b"a\xff\xfe\xc0\xaf.txt"),
    ("quotes and semicolons", b'a%22; filename=evil.exe; x=%22.txt'),
    ("percent signs", b"%2e%2e%2f%00%0d%0aSet-Cookie: a=b.txt"),
    ("blanks", b"    "),
]  # fmt: skip
PLAIN = re.compile(r'attachment; filename="[ !#$&-\[\]-~]*"(?:; filename\*=UTF-8\'\'[A-Za-z0-9!#$&+.^_`|~%-]+)?')


def assert_harmless(tenant: httpx.Client, answer: httpx.Response) -> None:
    assert answer.status_code == 201, answer.text
    document = answer.json()
    name = document["filename"]
    assert 0 < len(name) <= FILENAME_CODE_POINTS_MAX
    assert not re.search(r"[/\\\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]", name)
    assert name.strip(". ")
    download = tenant.get(f"/documents/{document['document_id']}/download")
    assert download.content == b"x"
    assert PLAIN.fullmatch(download.headers["Content-Disposition"])
    assert download.headers.get("Set-Cookie") is None
    (listed,) = tenant.get("/documents", params={"limit": 1}).json()["documents"]
    assert listed["filename"] == name


@pytest.mark.parametrize("name", [raw for _, raw in NAMES], ids=[what for what, _ in NAMES])
def test_a_hostile_name_in_a_form_is_made_harmless_or_refused(idle_tenant: httpx.Client, name: bytes) -> None:
    body, headers = form([("file", "NAME", "x")])
    answer = idle_tenant.post("/documents", content=body.replace(b"NAME", name), headers=headers)

    if answer.status_code == 400:
        assert_refused(answer, 400, "invalid_request")
        assert idle_tenant.get("/documents").json()["total"] == 0
        return
    assert_harmless(idle_tenant, answer)


@pytest.mark.parametrize("name", [raw for _, raw in NAMES if raw.strip()], ids=lambda raw: repr(raw[:20]))
def test_a_hostile_display_name_in_a_header_is_made_harmless_or_refused(idle_tenant: httpx.Client, name: bytes) -> None:
    if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", name):
        name = re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", b"", name)  # no client can send them; the server's parser refuses
    headers = [(b"X-S4-Filename", name), (b"Content-Type", b"text/plain")]
    answer = idle_tenant.put(by_key("k"), content=b"x", headers=headers)

    if answer.status_code == 400:
        assert_refused(answer, 400, "invalid_request")
        return
    assert_harmless(idle_tenant, answer)


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "a/../../b", "..", "a\u202eb", "a//b", " ", "%00", "a\ufeffb", "\u2028"]
)
def test_a_strange_key_is_a_name_and_nothing_else(idle_tenant: httpx.Client, key: str) -> None:
    """A key is never a path: it is found again as it was given, and its file name is harmless."""
    path = by_key(key).replace("..", "%2e%2e")  # or the client would resolve them
    answer = idle_tenant.put(path, content=b"x", headers={"Content-Type": "text/plain"})

    assert_harmless(idle_tenant, answer)
    assert answer.json()["key"] == key
    assert idle_tenant.get(path).json()["document_id"] == answer.json()["document_id"]


@pytest.mark.parametrize("key", ["a\x00b", "a\x1bb", "a\x85b", "n" * 1025, "n" * 4096, "\u4e00" * 342])
def test_a_key_with_control_characters_or_too_long_is_refused(idle_tenant: httpx.Client, key: str) -> None:
    assert_refused(put(idle_tenant, key, "x"), 400, "invalid_request")


@pytest.mark.parametrize("escaped", ["%ff", "%ed%a0%80", "a%c0%afb"])
def test_a_key_that_is_not_utf8_is_refused(idle_tenant: httpx.Client, escaped: str) -> None:
    answer = idle_tenant.put(f"/documents/by-key/{escaped}", content=b"x", headers={"Content-Type": "text/plain"})
    assert_refused(answer, 400, "invalid_request")
