"""Under which headers leaves what a browser might run. A browser looks at them in tests/ops."""

from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from s4.platform.http.downloads import INLINE_TYPES
from tests.api.calls import new_tenant, put
from tests.factories.deployment import Deployment
from tests.factories.hostile_pages import HostileFile, hostile_files

FILES = {file.name: file for file in hostile_files("http://attacker.example", marker="headers")}


@pytest.fixture(scope="module")
def owner(idle_deployment: Deployment) -> Iterator[httpx.Client]:
    with new_tenant(idle_deployment) as opened:
        yield opened


@pytest.mark.parametrize("disposition", ["inline", "attachment"])
@pytest.mark.parametrize("name", FILES)
def test_a_download_forbids_a_browser_to_run_guess_or_embed_it(
    owner: httpx.Client, name: str, disposition: str
) -> None:
    file = FILES[name]
    document_id = put(owner, quote(name), file.content, **{"Content-Type": file.declared}).json()["document_id"]

    answer = owner.get(f"/documents/{document_id}/download", params={"disposition": disposition})

    assert answer.content == file.content
    assert answer.headers["Content-Type"] == file.declared
    policy = [directive.strip() for directive in answer.headers["Content-Security-Policy"].split(";")]
    assert "sandbox" in policy, "and nothing that it allows"
    assert "default-src 'none'" in policy
    assert not [d for d in policy if d.startswith(("script-src", "connect-src", "frame-src"))]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    shown = "inline" if disposition == "inline" and passive(file) else "attachment"
    assert answer.headers["Content-Disposition"].partition(";")[0] == shown


def passive(file: HostileFile) -> bool:
    return file.declared.partition(";")[0] in INLINE_TYPES


def test_no_file_that_acts_when_it_is_opened_counts_as_passive() -> None:
    assert [file.name for file in FILES.values() if file.proof is not None and passive(file)] == []
