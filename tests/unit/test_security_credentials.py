"""Tenant keys and the administrator's key."""

import random
import secrets

import pytest

from s4.platform.security import credentials


def test_a_minted_key_has_the_documented_form_and_parses_to_its_prefix() -> None:
    key = credentials.mint(secrets.token_bytes)

    parsed = credentials.parse(key.plaintext)

    assert key.plaintext.startswith(f"s4_{key.prefix}_")
    assert len(key.plaintext) == 3 + 12 + 1 + 43 + 6
    assert parsed is not None
    assert parsed.prefix == key.prefix
    assert parsed.plaintext == key.plaintext


def test_a_key_matches_its_own_hash_and_no_other() -> None:
    key, other = credentials.mint(secrets.token_bytes), credentials.mint(secrets.token_bytes)

    assert key.hash == credentials.hash_secret(key.plaintext)
    assert credentials.matches(key.plaintext, key.hash)
    assert not credentials.matches(other.plaintext, key.hash)
    assert not credentials.matches(key.plaintext, "")


def test_the_hash_is_the_sha256_of_the_whole_key() -> None:
    assert credentials.hash_secret("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("position", [3, 10, 16, 30, 58, 59, 64])
def test_a_key_with_one_wrong_character_is_no_key(position: int) -> None:
    plaintext = credentials.mint(random.Random(7).randbytes).plaintext
    wrong = "a" if plaintext[position] != "a" else "b"

    assert credentials.parse(plaintext[:position] + wrong + plaintext[position + 1 :]) is None


@pytest.mark.parametrize(
    "text", ["", "s4_", "s4_http_requests_total", "x" * 65, "s4_" + "a" * 12 + "_" + "é" * 49, "\udcff" * 65]
)
def test_what_no_mint_has_made_is_no_key(text: str) -> None:
    assert credentials.parse(text) is None


def test_surroundings_are_not_part_of_a_key() -> None:
    plaintext = credentials.mint(secrets.token_bytes).plaintext

    assert credentials.parse(plaintext + "\n") is None
    assert credentials.parse(" " + plaintext) is None


def test_keys_do_not_show_in_representations() -> None:
    key = credentials.mint(secrets.token_bytes)

    assert key.plaintext not in repr(key)
    assert key.hash not in repr(key)
    assert key.plaintext not in repr(credentials.parse(key.plaintext))


def test_only_the_administrators_key_matches() -> None:
    assert credentials.admin_key_matches("correct horse", "correct horse")
    assert not credentials.admin_key_matches("correct horsf", "correct horse")
    assert not credentials.admin_key_matches("é\udcff", "correct horse")
    assert not credentials.admin_key_matches(None, "correct horse")


def test_an_unset_administrators_key_matches_nothing() -> None:
    assert not credentials.admin_key_matches("", "")
