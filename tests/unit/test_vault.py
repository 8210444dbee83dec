"""Encrypted bytes: what comes back, and what does not open."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from s4.kernel.errors import DataCorrupt
from s4.kernel.units import MIB
from s4.platform.security.vault import Vault, encrypted_bytes, encrypted_under

KEY = "0123456789abcdef" * 4
GOLDEN = Path(__file__).parent / "golden"
SIZES = [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB]


async def pieces(data: bytes, size: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def whole(parts: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in parts])


def vault(key: str = KEY) -> Vault:
    return Vault(key, secrets.token_bytes)


@pytest.mark.parametrize("size_bytes", SIZES)
async def test_bytes_of_any_length_come_back_and_are_as_long_as_was_said(size_bytes: int) -> None:
    plain = secrets.token_bytes(size_bytes)
    stored = await whole(vault().encrypted(pieces(plain), belongs_to="a"))
    assert len(stored) == encrypted_bytes(size_bytes)
    assert await whole(vault().decrypted(pieces(stored, 7_777), belongs_to="a")) == plain


async def test_what_format_1_encrypted_is_opened_and_would_be_written_again() -> None:
    golden, plain = GOLDEN / "encrypted-object-1.bin", (GOLDEN / "backup-entries-1.jsonl").read_bytes()
    stored = golden.read_bytes()
    assert await whole(vault().decrypted(pieces(stored), belongs_to="tides")) == plain
    assert encrypted_under(stored) == vault().key_id
    assert encrypted_under(plain) is None
    again = Vault(KEY, lambda count: bytes(range(count)))
    assert await whole(again.encrypted(pieces(plain), belongs_to="tides")) == stored


async def opens(stored: bytes, *, key: str = KEY, belongs_to: str = "a") -> bool:
    try:
        await whole(vault(key).decrypted(pieces(stored), belongs_to=belongs_to))
    except DataCorrupt:
        return False
    return True


async def test_what_was_changed_cut_swapped_or_misplaced_does_not_open() -> None:
    plain = secrets.token_bytes(2 * MIB + 100)
    stored = await whole(vault().encrypted(pieces(plain), belongs_to="a"))
    header, piece = encrypted_bytes(0) - 16, MIB + 16
    first, second = stored[header : header + piece], stored[header + piece : header + 2 * piece]
    assert await opens(stored)
    for place in (0, 5, 20, header + 1, len(stored) - 1):
        assert not await opens(stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1 :]), place
    assert not await opens(stored[:-1])
    assert not await opens(stored[: header + 2 * piece]), "cut between two pieces"
    assert not await opens(stored[:header] + second + first + stored[header + 2 * piece :])
    assert not await opens(stored[:header] + second + stored[header + 2 * piece :])
    assert not await opens(b"")
    assert not await opens(stored, belongs_to="b")
    assert not await opens(stored, key=KEY[::-1])


async def test_equal_bytes_are_not_equal_once_they_are_encrypted() -> None:
    first = await whole(vault().encrypted(pieces(b"the same"), belongs_to="a"))
    second = await whole(vault().encrypted(pieces(b"the same"), belongs_to="a"))
    assert first != second
    assert vault().key_id == vault().key_id != vault(KEY[::-1]).key_id
