"""Secrets that are read again: sealed under the deployment's key, for one subject, and for nobody else."""

import secrets

import pytest

from s4.kernel.errors import DataCorrupt
from s4.platform.security.sealing import Sealer

OLD = "old-secret-key-0123456789-abcdefghij"
NEW = "new-secret-key-0123456789-abcdefghij"
SECRET = "whsec_of-a-tenant"


def sealer(*keys: str) -> Sealer:
    return Sealer(keys, secrets.token_bytes)


def test_what_was_sealed_opens_again_in_another_process() -> None:
    sealed = sealer(OLD).seal(SECRET, belongs_to="webhook/a")
    assert sealer(OLD).open(sealed, belongs_to="webhook/a") == SECRET


def test_the_sealed_text_tells_nothing_and_is_another_each_time() -> None:
    one, two = (sealer(OLD).seal(SECRET, belongs_to="webhook/a") for _ in range(2))
    assert one != two
    assert SECRET not in one
    assert OLD not in one


def test_it_opens_for_no_other_subject() -> None:
    sealed = sealer(OLD).seal(SECRET, belongs_to="webhook/a")
    with pytest.raises(DataCorrupt, match="belongs to something else"):
        sealer(OLD).open(sealed, belongs_to="webhook/b")


def test_a_flipped_bit_is_noticed() -> None:
    sealed = sealer(OLD).seal(SECRET, belongs_to="webhook/a")
    for place in (-3, -10, len(sealed) // 2):
        changed = "A" if sealed[place] != "A" else "B"
        with pytest.raises(DataCorrupt):
            sealer(OLD).open(sealed[:place] + changed + sealed[place + 1 :], belongs_to="webhook/a")


@pytest.mark.parametrize("text", ["", "s1", "s1.", "s1.00000000.", "s2.a.b", "s1.nothing.AAAA"])
def test_what_was_never_sealed_does_not_open(text: str) -> None:
    with pytest.raises(DataCorrupt):
        sealer(OLD).open(text, belongs_to="webhook/a")


def test_another_key_does_not_open_it_and_the_sentence_says_so() -> None:
    sealed = sealer(OLD).seal(SECRET, belongs_to="webhook/a")
    with pytest.raises(DataCorrupt, match="another S4_SECRET_KEY"):
        sealer(NEW).open(sealed, belongs_to="webhook/a")


def test_while_keys_are_exchanged_the_new_one_seals_and_both_open() -> None:
    before = sealer(OLD).seal(SECRET, belongs_to="webhook/a")
    both = sealer(NEW, OLD)
    assert both.open(before, belongs_to="webhook/a") == SECRET
    assert sealer(NEW).open(both.seal(SECRET, belongs_to="webhook/a"), belongs_to="webhook/a") == SECRET
