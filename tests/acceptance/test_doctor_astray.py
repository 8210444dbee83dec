"""`s4 doctor` that is led astray: to a place where nothing is, to another store, to what is no process of S4's. It says
so, and calls nothing sound that it did not see."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from s4.entrypoints.configuration import Configuration, read_configuration
from s4.entrypoints.doctor import Verdict
from s4.entrypoints.doctor.whole import Bedside, examine
from s4.entrypoints.doctor.whole.processes import Process, isolation
from tests.acceptance.conftest import Command
from tests.factories.examined import said, verdicts
from tests.factories.house import open_house
from tests.servers import free_ports


def test_a_directory_without_a_deployment_is_not_sound(tmp_path: Path, here: Command) -> None:
    place = tmp_path / "typo"
    for how in ((), ("--only", "queue"), ("--only", "index", "--verbose")):
        examined = here("doctor", *how, S4_DATA_DIR=str(place), S4_EMBEDDING_PROVIDER="deterministic")
        assert (examined.code, "Undecided" in examined.out) == (2, True), (how, examined)
        assert "catalog" in examined.out
    assert not place.exists()


async def test_a_part_that_a_dead_database_hides_is_not_sound(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    loaded = read_configuration(
        data_dir=tmp_path, database_url=f"postgresql://u:p@127.0.0.1:{port}/s4", embedding_provider="deterministic"
    )
    report = await examine(Bedside(loaded), only=("queue",))
    assert (report.exit_code, verdicts(report)) == (2, {"untold.database": Verdict.UNKNOWN})


@pytest.fixture
async def left(tmp_path: Path) -> Configuration:
    """A deployment that ran, in `data`."""
    async with open_house(tmp_path / "data"):
        pass
    return read_configuration(data_dir=tmp_path / "data", embedding_provider="deterministic")


PAIR = ("store.deployment", "index.files", "isolation")


async def test_the_store_of_the_catalog_is_known(left: Configuration) -> None:
    report = await examine(Bedside(left), only=PAIR)
    assert verdicts(report)["store.deployment"] is Verdict.OK


async def test_a_disk_that_is_not_there_is_named(left: Configuration) -> None:
    objects = left.settings.data_dir / "objects"
    objects.rename(objects.with_name("elsewhere"))

    report = await examine(Bedside(left), only=("store", *PAIR))

    assert report.exit_code == 1
    assert str(objects) in said(report, "store.deployment")
    assert "mounted" in said(report, "store.deployment")
    assert not objects.exists(), "a look makes no place"


async def test_the_store_of_somebody_else_is_named(left: Configuration, tmp_path: Path) -> None:
    async with open_house(tmp_path / "other"):
        pass
    (tmp_path / "empty").mkdir()
    for place in ("other/objects", "empty"):
        astray = read_configuration(
            data_dir=left.settings.data_dir,
            store_url=(tmp_path / place).as_uri(),
            embedding_provider="deterministic",
        )
        report = await examine(Bedside(astray), only=PAIR)
        assert report.exit_code == 1, place
        assert "belongs to another bucket" in said(report, "store.deployment")


@asynccontextmanager
async def answering(body: bytes) -> AsyncIterator[str]:
    """A server that answers everything with it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close"
        writer.write(head.encode() + b"\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("body", [b"[]", b"null", b'"ready"', b"{", b"{}"])
async def test_what_is_no_process_of_s4s_is_a_line_beside_the_others(tmp_path: Path, body: bytes) -> None:
    loaded = read_configuration(data_dir=tmp_path, embedding_provider="deterministic")
    async with answering(body) as address:
        report = await examine(Bedside(loaded, addresses=(address,)), only=("versions",))
    assert verdicts(report)["versions"] is Verdict.OK
    assert verdicts(report)["processes.answers"] is Verdict.FAILED
    assert address in said(report, "processes.answers")


def test_an_api_that_is_in_trouble_lets_nobody_in() -> None:
    ill = Process("http://10.0.0.1:8000", is_api=True, refusals=[("/api/v1/documents", 401), ("/api/v1/usage", 503)])
    (check,) = isolation([ill])
    assert check.verdict is Verdict.UNKNOWN
    assert "http://10.0.0.1:8000/api/v1/usage" in check.message
