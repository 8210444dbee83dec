"""`s4 upload` and `s4 sync` of folders, against a real server and over a faulty network."""

import asyncio
import ctypes
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Command
from tests.factories.command_line import S4, documents, lines_of, s4, started_s4, versions
from tests.factories.deployment import Deployment, clean_environment
from tests.factories.files import pdf
from tests.fault_proxy import Fault, Mode, fault_proxy

FILES = {f"{number:02}.txt": f"Report {number} speaks of tides." for number in range(12)}
PUT = "/documents/by-key/"


def folder_of(files: dict[str, str], directory: Path) -> Path:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of(
        {"tides.txt": "Tides.", "below/walrus.md": "A walrus.", "below/deep/ice.txt": "Ice."}, tmp_path / "d"
    )


def summary_of(done: Any) -> str:
    return str(done.out.splitlines()[-1].partition(";")[0])


def test_a_second_upload_sends_nothing_and_changes_nothing(
    command: Command, tenant: dict[str, str], folder: Path
) -> None:
    first = command("upload", folder, "--prefix", "papers")
    assert (first.code, first.err, summary_of(first)) == (0, "", "3 uploaded, 0 replaced, 0 unchanged, 0 failed")
    before = versions(tenant)
    assert set(before) == {"papers/tides.txt", "papers/below/walrus.md", "papers/below/deep/ice.txt"}
    os.utime(folder / "tides.txt", (0, 0))  # copying changes times; they say nothing about content

    second = command("upload", folder, "--prefix", "papers/")

    assert (second.code, second.out.count("\n")) == (0, 1)
    assert second.out.startswith("0 uploaded, 0 replaced, 3 unchanged, 0 failed; 0 B sent in ")
    assert versions(tenant) == before


def test_only_what_changed_is_sent_whatever_its_size_and_time_say(
    command: Command, tenant: dict[str, str], folder: Path
) -> None:
    command("upload", folder, "-m", "team=sales")
    before = versions(tenant)
    state = (folder / "tides.txt").stat()
    (folder / "tides.txt").write_text("Tidal.")  # as long as before
    os.utime(folder / "tides.txt", ns=(state.st_atime_ns, state.st_mtime_ns))
    (folder / "below" / "walrus.md").rename(folder / "below" / "seal.md")
    (folder / "below" / "deep" / "ice.txt").unlink()

    done = command("sync", folder)

    assert done.code == 0
    assert done.out.splitlines()[-2].startswith("1 uploaded, 1 replaced, 0 unchanged, 0 failed; 15 B sent")
    assert done.out.splitlines()[-1] == "Documents without a file: 2; --delete deletes them."
    after = documents(tenant)
    assert set(after) == set(before) | {"below/seal.md"}
    changed = {key for key in before if after[key].version != before[key]}
    assert changed == {"tides.txt"}
    assert after["tides.txt"].metadata == {"team": "sales"}, "a replacement keeps what stands beside the bytes"


def test_metadata_alone_is_set_without_sending_bytes(command: Command, tenant: dict[str, str], folder: Path) -> None:
    command("upload", folder, "-m", "team=sales")

    done = command("upload", folder, "-m", "year=2026", "-m", "team=sales", "--json")

    _, summary = lines_of(done.out)
    assert (summary["metadata"], summary["sent_bytes"]) == (3, 0)
    assert documents(tenant)["tides.txt"].metadata == {"team": "sales", "year": 2026}
    assert lines_of(command("upload", folder, "-m", "year=2026", "--json").out)[1]["unchanged"] == 3


def test_sync_deletes_what_the_folder_has_no_longer_and_nothing_else(
    command: Command, tenant: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    folder_of({".hidden/a.txt": "a", "drafts/b.txt": "b"}, folder)
    command("sync", folder, "--prefix", "papers", "--hidden")
    command("upload", folder / "tides.txt", "--prefix", "papers-of-others")
    command("upload", folder / "tides.txt", "--name", "elsewhere.txt")
    shutil.rmtree(folder / "below")
    (folder / "drafts" / "b.txt").unlink()
    shutil.rmtree(folder / ".hidden")
    everything = set(documents(tenant))
    gone = {"papers/below/walrus.md", "papers/below/deep/ice.txt"}

    tried = command("sync", folder, "--prefix", "papers", "--exclude", "drafts", "--delete", "--dry-run")
    assert {line.split()[-1] for line in tried.out.splitlines()[:-1]} == gone
    assert set(documents(tenant)) == everything

    done = command("sync", folder, "--prefix", "papers", "--exclude", "drafts", "--delete", "--yes", "--json")

    assert lines_of(done.out)[1]["deleted"] == 2
    assert set(documents(tenant)) == everything - gone, "hidden, excluded and other folders' documents stay"


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_sync_asks_before_it_deletes(
    command: Command, tenant: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    command("upload", folder)
    (folder / "tides.txt").unlink()
    asked = answering(answer, monkeypatch)

    refused = command("sync", folder, "--prefix", "", "--delete", "--yes", "--dry-run")
    assert "would be deleted tides.txt" in refused.out
    command("upload", folder, "--prefix", "papers")
    (folder / "below" / "walrus.md").unlink()
    before = set(documents(tenant))

    done = command("sync", folder, "--prefix", "papers", "--delete")

    assert done.code == 1
    assert done.err.splitlines() == [
        "  papers/below/walrus.md",
        f"Delete 1 documents that have no file in {folder}? [y/N]",
        "Nothing was deleted.",
    ]
    assert set(documents(tenant)) == before
    asked("y\n")
    assert command("sync", folder, "--prefix", "papers", "--delete").code == 0
    assert set(documents(tenant)) == before - {"papers/below/walrus.md"}


def test_sync_keeps_what_somebody_changed_while_it_asked(
    command: Command, tenant: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("upload", folder, "--prefix", "papers")
    (folder / "tides.txt").unlink()
    (folder / "elsewhere.txt").write_text("new words of somebody else")

    class SlowPerson(io.StringIO):
        def readline(self, *_: object) -> str:
            assert command("upload", folder / "elsewhere.txt", "--name", "tides.txt", "--prefix", "papers").code == 0
            return "y\n"

    monkeypatch.setattr("sys.stdin", SlowPerson())
    done = command("sync", folder, "--prefix", "papers", "--exclude", "elsewhere.txt", "--delete")

    assert done.code == 1
    assert "papers/tides.txt" in documents(tenant)
    assert "It was changed on the server meanwhile, so it was kept." in done.err


def answering(text: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def answer(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    answer(text)
    return answer


def test_an_empty_folder_deletes_nothing_unless_that_is_meant(
    command: Command, tenant: dict[str, str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder may be where something should have been mounted."""
    command("upload", folder, "--prefix", "papers")
    (tmp_path / "empty").mkdir()
    answering("y\n", monkeypatch)

    refused = command("sync", tmp_path / "empty", "--prefix", "papers", "--delete")

    assert refused.code == 1
    assert "holds no files, so nothing was deleted" in refused.err
    assert len(documents(tenant)) == 3
    assert command("sync", tmp_path / "empty", "--prefix", "papers", "--delete", "--yes").code == 0
    assert documents(tenant) == {}


def test_a_file_that_cannot_be_read_by_s4_fails_with_its_sentence_and_is_not_sent_twice(
    command: Command, tenant: dict[str, str], folder: Path
) -> None:
    (folder / "locked.pdf").write_bytes(pdf([["Secret."]], encrypted=True))

    first = command("upload", folder)

    assert first.code == 1
    (sentence,) = first.err.splitlines()
    assert sentence.startswith(f"{folder / 'locked.pdf'} → encrypted: ")
    assert summary_of(first) == "4 uploaded, 0 replaced, 0 unchanged, 1 failed"
    before = versions(tenant)
    again = command("upload", folder)
    assert (again.code, again.err, summary_of(again)) == (1, first.err, "0 uploaded, 0 replaced, 4 unchanged, 1 failed")
    assert versions(tenant) == before
    retried = command("upload", folder, "--retry-failed")
    assert (retried.code, retried.err) == (1, first.err)
    assert versions(tenant) != before


def test_what_is_odd_in_a_folder_is_named_and_the_rest_goes_on(
    served: Deployment, tenant: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    """As somebody whom permissions bind: root without the right to pass over them."""
    (folder / "link.txt").symlink_to("tides.txt")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(folder / "socket"))
    (folder / "line\nbreak.txt").write_text("x")
    (folder / os.fsdecode(b"latin-\xe9.txt")).write_text("x")
    (folder / "private.txt").write_text("x")
    (folder / "private.txt").chmod(0)
    name = unicodedata.normalize("NFD", "Grüße.txt")
    (folder / name).write_text("Grüße.")
    folder_of({"closed/inside.txt": "x", "open/inside.txt": "x"}, folder)
    assert s4("upload", folder, "--prefix", "p", **tenant).returncode == 1
    assert "p/closed/inside.txt" in documents(tenant)
    (folder / "closed").chmod(0)
    shutil.rmtree(folder / "open")

    done = subprocess.run(
        [S4, "sync", folder, "--prefix", "p", "--json", "--delete", "--yes"],
        env=clean_environment() | tenant, capture_output=True, text=True, check=False, preexec_fn=obey_permissions,
    )  # fmt: skip

    (folder / "closed").chmod(0o700)
    outcomes, summary = lines_of(done.stdout)
    assert done.returncode == 1
    assert {name: (each["action"], each["failure"]["code"]) for name, each in outcomes.items() if each["failure"]} == {
        "link.txt": ("skipped", "symlink"),
        "pipe": ("skipped", "not_a_file"),
        "socket": ("skipped", "not_a_file"),
        "line\nbreak.txt": ("refused", "bad_name"),
        "latin-\ufffd.txt": ("refused", "bad_name"),
        "private.txt": ("refused", "file_error"),
        "closed": ("refused", "file_error"),
    }
    assert outcomes["private.txt"]["failure"]["message"] == "It cannot be read: permission denied."
    assert "p/Grüße.txt" in documents(tenant)
    assert summary["deleted"] == 1
    assert "p/closed/inside.txt" in documents(tenant), "what cannot be seen is not missing"
    assert "p/open/inside.txt" not in documents(tenant)


def obey_permissions() -> None:
    """In the child: without CAP_DAC_OVERRIDE (1) and CAP_DAC_READ_SEARCH (2). Who has neither needs nothing."""
    drop_from_bounding_set = 24
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


async def test_an_interrupted_upload_goes_on_where_it_stopped(
    served: Deployment, tenant: dict[str, str], tmp_path: Path
) -> None:
    folder = folder_of(FILES, tmp_path / "d")
    async with fault_proxy(served.url) as proxy:
        hung = [
            proxy.add(Fault(Mode.HANG, method="PUT", path=f"{PUT}05.txt")),
            proxy.add(Fault(Mode.HANG_REPLY, method="PUT", path=f"{PUT}06.txt")),
            proxy.add(Fault(Mode.HANG, method="PUT", path=f"{PUT}08.txt")),
        ]
        interrupted = started_s4("upload", folder, "--parallel", "3", **{**tenant, "S4_URL": proxy.endpoint})
        async with asyncio.timeout(60):
            for fault in hung:
                await fault.hit.wait()
        interrupted.send_signal(signal.SIGINT)
        out, err = await asyncio.to_thread(interrupted.communicate, timeout=60)

    assert (interrupted.returncode, err.splitlines()[-1]) == (130, "Error: Interrupted.")
    before = documents(tenant)
    assert set(before) == {"00.txt", "01.txt", "02.txt", "03.txt", "04.txt", "06.txt", "07.txt"}
    assert "6 uploaded, 0 replaced, 0 unchanged, 0 failed; " in out, "of 06.txt the answer is missing"

    again = await asyncio.to_thread(started_s4, "upload", folder, **tenant)
    out, err = await asyncio.to_thread(again.communicate, timeout=60)

    assert (again.returncode, err) == (0, "")
    assert f"{len(FILES) - len(before)} uploaded, 0 replaced, {len(before)} unchanged, 0 failed" in out
    after = documents(tenant)
    assert set(after) == set(FILES)
    assert {document.status for document in after.values()} == {"ready"}
    assert all(document.version == 1 for document in after.values())


async def test_over_a_network_that_breaks_every_document_is_there_exactly_once(
    command: Command, served: Deployment, tenant: dict[str, str], tmp_path: Path
) -> None:
    folder = folder_of(FILES, tmp_path / "d")
    async with fault_proxy(served.url) as proxy:
        reset = proxy.add(Fault(Mode.RESET, method="PUT", every=5))
        lost = proxy.add(Fault(Mode.LOST_REPLY, method="PUT", every=4))
        proxy.add(Fault(Mode.RESET, method="GET", every=5))

        done = await asyncio.to_thread(command, "upload", folder, S4_URL=proxy.endpoint)

        assert min(reset.hits, lost.hits) >= 2
    assert (done.code, done.err) == (0, "")
    assert versions(tenant) == dict.fromkeys(FILES, 1)


def test_without_any_wait_the_summary_says_what_is_not_searchable_yet(command: Command, folder: Path) -> None:
    done = command("upload", folder, "--no-wait")

    assert done.code == 0
    assert done.out.splitlines()[-1] == "Not searchable yet: 3."


def test_a_dry_run_does_nothing(command: Command, tenant: dict[str, str], folder: Path) -> None:
    done = command("upload", folder, "--dry-run", "--include", "*.md", "--json")

    outcomes, summary = lines_of(done.out)
    assert (done.code, list(outcomes), summary["uploaded"], summary["dry_run"]) == (0, ["walrus.md"], 1, True)
    assert documents(tenant) == {}


def test_files_of_one_name_do_not_replace_one_another(command: Command, tenant: dict[str, str], folder: Path) -> None:
    folder_of({"ice.txt": "Another."}, folder / "below")

    done = command("upload", folder / "below" / "ice.txt", folder / "below" / "deep" / "ice.txt", "--json")

    assert done.code == 1
    failures = [json.loads(line)["failure"] for line in done.out.splitlines()[:-1]]
    assert [failure and failure["code"] for failure in failures].count("same_key") == 1
    assert versions(tenant) == {"ice.txt": 1}
