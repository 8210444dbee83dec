"""Groups of the persistent cache: they cover, they are bounded, an edit disturbs its neighbours only."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4.engine.embedding.groups import GROUP_MAX, GROUP_MIN, decode_vectors, encode_vectors, groups
from s4.kernel.errors import DataCorrupt

TEXTS = st.lists(st.text(max_size=8), max_size=400)


def passages(count: int) -> list[str]:
    return [f"passage number {number}" for number in range(count)]


@given(TEXTS)
def test_groups_cover_all_texts_in_order(texts: list[str]) -> None:
    found = groups(texts)

    assert [position for group in found for position in range(group.start, group.end)] == list(range(len(texts)))
    assert all(GROUP_MIN <= group.end - group.start <= GROUP_MAX for group in found[:-1])


@given(TEXTS)
def test_the_same_texts_make_the_same_groups(texts: list[str]) -> None:
    assert groups(texts) == groups(list(texts))


def test_an_edit_at_the_start_leaves_later_groups_as_they_were() -> None:
    before = groups(passages(3000))
    after = groups(["a new introduction", "in two passages", *passages(3000)[1:]])

    known = {group.hash for group in before}
    again = [group for group in after if group.hash in known]
    assert sum(group.end - group.start for group in again) > 2800
    assert after[-1].hash == before[-1].hash


def test_groups_hold_about_thirty_texts() -> None:
    assert 20 < 20_000 / len(groups(passages(20_000))) < 45


def test_the_border_between_texts_is_part_of_the_hash() -> None:
    assert groups(["ab", "c"])[0].hash != groups(["a", "bc"])[0].hash


@given(st.integers(0, 40), st.integers(1, 16))
def test_vectors_come_back_as_they_were(count: int, dimension: int) -> None:
    vectors = np.random.default_rng(count * 17 + dimension).standard_normal((count, dimension), np.float32)

    decoded = decode_vectors(encode_vectors(vectors), count, dimension)

    assert decoded.dtype == np.float32
    assert np.array_equal(decoded, vectors)


@given(st.data())
def test_any_changed_byte_is_found(data: st.DataObject) -> None:
    stored = bytearray(encode_vectors(np.ones((3, 4), dtype=np.float32)))
    position = data.draw(st.integers(0, len(stored) - 1).filter(lambda index: index not in (6, 7)))
    stored[position] ^= data.draw(st.integers(1, 255))

    with pytest.raises(DataCorrupt):
        decode_vectors(bytes(stored), 3, 4)


@given(st.integers(0, 95))
def test_a_cut_off_end_is_found(length: int) -> None:
    stored = encode_vectors(np.ones((3, 4), dtype=np.float32))

    with pytest.raises(DataCorrupt):
        decode_vectors(stored[:length], 3, 4)


@pytest.mark.parametrize(("count", "dimension"), [(4, 3), (2, 4), (3, 5), (12, 1)])
def test_another_shape_is_corrupt(count: int, dimension: int) -> None:
    with pytest.raises(DataCorrupt):
        decode_vectors(encode_vectors(np.ones((3, 4), dtype=np.float32)), count, dimension)
