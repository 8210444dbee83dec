"""The faulty network before PostgreSQL and Redis does what it says: the storms rest on it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.fault_proxy import accepting
from tests.tcp_proxy import TcpProxy, Trouble, tcp_proxy

SHORT_SECONDS = 0.1
AMPLE_SECONDS = 60


@dataclass
class Conversation:
    """With a server that says everything back."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, words: bytes = b"hello") -> bytes:
        """What comes back; less when the connection breaks."""
        self.writer.write(words)
        try:
            return await self.reader.readexactly(len(words))
        except asyncio.IncompleteReadError as broken:
            return broken.partial

    async def is_silent(self) -> bool:
        try:
            await asyncio.wait_for(self.ask(), SHORT_SECONDS)
        except TimeoutError:
            return True
        return False


@pytest.fixture
def heard() -> list[bytes]:
    """What came to the server."""
    return []


@pytest.fixture
async def proxy(heard: list[bytes]) -> AsyncIterator[TcpProxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            heard.append(piece)
            writer.write(piece)

    async with accepting(echo) as port, tcp_proxy("127.0.0.1", port) as opened:
        yield opened


async def begun(proxy: TcpProxy) -> Conversation:
    return Conversation(*await asyncio.open_connection("127.0.0.1", proxy.port))


async def test_without_trouble_bytes_pass(proxy: TcpProxy) -> None:
    assert await (await begun(proxy)).ask(b"x" * 100_000) == b"x" * 100_000


async def test_what_is_frozen_goes_on_when_healed(proxy: TcpProxy) -> None:
    old = await begun(proxy)
    await old.ask()
    proxy.begin(Trouble.FREEZE)
    await asyncio.sleep(0)
    asking = asyncio.create_task(old.ask())
    assert await (await begun(proxy)).is_silent()
    assert not asking.done()
    proxy.heal()
    assert await asyncio.wait_for(asking, AMPLE_SECONDS) == b"hello"


async def test_what_is_forgotten_stays_silent_for_ever_and_what_is_new_is_good(proxy: TcpProxy) -> None:
    old = await begun(proxy)
    await old.ask()
    proxy.begin(Trouble.FORGET)
    await asyncio.sleep(0)
    assert await old.is_silent()
    assert await (await begun(proxy)).ask() == b"hello"
    proxy.heal()
    assert await old.is_silent()


async def test_what_is_forgotten_halfway_brings_the_server_a_part(proxy: TcpProxy, heard: list[bytes]) -> None:
    proxy.begin(Trouble.HALF)
    talk = await begun(proxy)
    talk.writer.write(b"hello")
    async with asyncio.timeout(AMPLE_SECONDS):
        while not heard:  # noqa: ASYNC110 (the server tells nobody)
            await asyncio.sleep(0)
    assert await talk.is_silent()
    assert heard == [b"he"]
    proxy.heal()
    assert await talk.is_silent()
    assert await (await begun(proxy)).ask() == b"hello"


async def test_what_is_reset_breaks_and_what_is_new_is_good(proxy: TcpProxy) -> None:
    old = await begun(proxy)
    await old.ask()
    proxy.begin(Trouble.RESET)
    await asyncio.sleep(0)
    with pytest.raises(ConnectionResetError):
        await old.ask()
    assert await (await begun(proxy)).ask() == b"hello"


async def test_what_is_down_takes_nobody_until_healed(proxy: TcpProxy) -> None:
    proxy.begin(Trouble.DOWN)
    with pytest.raises(ConnectionResetError):
        await (await begun(proxy)).ask()
    proxy.heal()
    assert await (await begun(proxy)).ask() == b"hello"


async def test_what_breaks_off_says_a_part_first(proxy: TcpProxy) -> None:
    proxy.begin(Trouble.CUT, after_bytes=10)
    talk = await begun(proxy)
    assert await talk.ask(b"0123456789") == b"0123456789"
    with pytest.raises(ConnectionResetError):
        await talk.ask(b"x" * 50)


async def test_what_is_slow_comes_whole(proxy: TcpProxy) -> None:
    proxy.begin(Trouble.DRIP, delay_seconds=0.001)
    assert await (await begun(proxy)).ask(bytes(range(200))) == bytes(range(200))
    proxy.begin(Trouble.LATENCY, delay_seconds=0.001)
    assert await (await begun(proxy)).ask() == b"hello"
