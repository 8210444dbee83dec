"""Under which headers leaves what a browser might run. A browser looks at them in tests/ops."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from urllib.parse import quote

import httpx
import pytest

from s4.platform.http.downloads import INLINE_TYPES
from tests.api.calls import ended, new_tenant, put
from tests.factories.deployment import Deployment
from tests.factories.hostile_pages import HostileFile, hostile_files

Work = Callable[[], AbstractContextManager[None]]
FILES = {file.name: file for file in hostile_files("http://attacker.example", marker="headers")}


SHOWN_IN_PLACE = {"form.pdf"}
"""Of the files: the others are called something that may run, or turn out to be HTML or a script."""


@pytest.fixture(scope="module")
def owner(deployment: Deployment) -> Iterator[httpx.Client]:
    with new_tenant(deployment) as opened:
        yield opened


@pytest.fixture(scope="module")
def stored(owner: httpx.Client) -> dict[str, str]:
    """Ids by name, once S4 has read what it can of them."""
    headers = {file.name: {"Content-Type": file.declared} for file in FILES.values()}
    uploaded = {name: put(owner, quote(name), file.content, **headers[name]).json() for name, file in FILES.items()}
    return {name: ended(owner, document["document_id"])["document_id"] for name, document in uploaded.items()}


@pytest.mark.parametrize("disposition", ["inline", "attachment"])
@pytest.mark.parametrize("name", FILES)
def test_a_download_forbids_a_browser_to_run_guess_or_embed_it(
    owner: httpx.Client, stored: dict[str, str], name: str, disposition: str
) -> None:
    file = FILES[name]

    answer = owner.get(f"/documents/{stored[name]}/download", params={"disposition": disposition})

    assert answer.content == file.content
    assert answer.headers["Content-Type"] == file.declared
    policy = [directive.strip() for directive in answer.headers["Content-Security-Policy"].split(";")]
    assert "sandbox" in policy, "and nothing that it allows"
    assert "default-src 'none'" in policy
    assert not [d for d in policy if d.startswith(("script-src", "connect-src", "frame-src"))]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    shown = "inline" if disposition == "inline" and name in SHOWN_IN_PLACE else "attachment"
    assert answer.headers["Content-Disposition"].partition(";")[0] == shown


def test_html_that_is_called_a_pdf_is_an_attachment_from_its_upload_on(
    idle_deployment: Deployment, owner: httpx.Client
) -> None:
    """Also while nobody has read it, and when nothing in it can be read; the answer says what it is."""
    page, empty = FILES["page.html"].content, b"<!doctype html><html><head><script>1</script></head></html>"
    with new_tenant(idle_deployment) as waiting:
        unread = put(waiting, "page.pdf", page, **{"Content-Type": "application/pdf"}).json()
        assert unread["detected_type"] is None
        assert inline_answer(waiting, unread["document_id"]) == "attachment"
    for content, status in ((page, "ready"), (empty, "failed")):
        uploaded = put(owner, f"{status}.pdf", content, **{"Content-Type": "application/pdf"}).json()
        document = ended(owner, uploaded["document_id"])
        assert (document["status"], document["content_type"], document["detected_type"]) == (
            *(status, "application/pdf", "text/html"),
        )
        assert inline_answer(owner, document["document_id"]) == "attachment"


def test_new_bytes_are_not_taken_for_what_the_former_were(idle_tenant: httpx.Client, work: Work) -> None:
    pdf = {"Content-Type": "application/pdf"}
    with work():
        document_id = ended(idle_tenant, put(idle_tenant, "k", FILES["form.pdf"].content, **pdf).json()["document_id"])[
            "document_id"
        ]
    assert inline_answer(idle_tenant, document_id) == "inline"

    assert put(idle_tenant, "k", FILES["page.html"].content, **pdf).json()["detected_type"] is None
    assert inline_answer(idle_tenant, document_id) == "attachment"


def inline_answer(tenant: httpx.Client, document_id: str) -> str:
    answer = tenant.get(f"/documents/{document_id}/download", params={"disposition": "inline"})
    return answer.headers["Content-Disposition"].partition(";")[0]


def passive(file: HostileFile) -> bool:
    return file.declared.partition(";")[0] in INLINE_TYPES


def test_no_file_that_acts_when_it_is_opened_counts_as_passive() -> None:
    assert [file.name for file in FILES.values() if file.proof is not None and passive(file)] == []
