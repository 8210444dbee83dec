"""Filters against a brute-force reading of the contract: every operator, every type, every combination."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.calls import assert_refused, ended, found, new_tenant, put, upload, upload_ready
from tests.factories.deployment import Deployment
from tests.factories.filters import combined, holds

DOCUMENTS = 40
SEED = 20_261_123
WORDS = ("red", "Red", "blue", "blue green", "é", "e\u0301", "%", "a_b", "zz", "🚀", "1", "true")
NUMBERS = (-1, 0, 0.5, 1, 2, 2020, 1e9, 2**53, 2**53 + 1, -(2**53) - 1, 10**18 - 1, 10**18, 10**18 + 1)
DATES = (
    "2024-01-01", "2024-01-01T10:00:00Z", "2024-01-01T11:00:00+02:00", "2024-01-01T11:00:00.5-02:00",
    "2023-12-31T23:30Z", "2024-01-01T10:30:00", "2024-13-01", "1969-07-20 20:17:40+00:00",
)  # fmt: skip
SCALARS: tuple[Any, ...] = (*WORDS, *NUMBERS, *DATES, True, False)
FIELDS = ("a", "b", "n.x", "n.y", "category", "absent")

# -- documents and filters by chance


def random_value(choose: random.Random) -> Any:
    roll = choose.random()
    if roll < 0.55:
        return choose.choice(SCALARS)
    if roll < 0.85:
        return [choose.choice((*SCALARS, None)) for _ in range(choose.randrange(4))]
    return None


def random_metadata(choose: random.Random) -> dict[str, Any]:
    metadata = {name: random_value(choose) for name in ("a", "b", "category") if choose.random() < 0.8}
    if choose.random() < 0.6:
        metadata["n"] = {name: random_value(choose) for name in ("x", "y") if choose.random() < 0.7}
    return metadata


@dataclass(frozen=True)
class Shelf:
    tenant: httpx.Client
    metadata: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def shelf(deployment: Deployment) -> Iterator[Shelf]:
    """Documents of random metadata that all say "shared"."""
    choose = random.Random(SEED)
    with new_tenant(deployment, "Shelf") as tenant:
        metadata = [random_metadata(choose) for _ in range(DOCUMENTS)]
        ids = [upload(tenant, f"shared words {n}", metadata=one)["document_id"] for n, one in enumerate(metadata)]
        for document_id in ids:
            assert ended(tenant, document_id)["status"] == "ready"
        yield Shelf(tenant, dict(zip(ids, metadata, strict=True)))


fields = st.sampled_from((*FIELDS, "n"))
scalars = st.sampled_from(SCALARS)
texts = st.sampled_from((*WORDS, "r", "blue ", "e"))
ordered = st.sampled_from((*WORDS, *NUMBERS, *DATES))


def leaf(op: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"field": fields, "op": st.just(op), "value": value})


leaves = st.one_of(
    *(leaf(op, scalars) for op in ("eq", "ne")),
    *(leaf(op, ordered) for op in ("gt", "gte", "lt", "lte")),
    *(leaf(op, st.lists(scalars, max_size=4)) for op in ("in", "nin")),
    leaf("exists", st.booleans()),
    leaf("contains", st.one_of(scalars, texts)),
    leaf("prefix", texts),
)
trees = combined(leaves)


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(tree=trees)
def test_filters_select_what_brute_force_selects(shelf: Shelf, tree: dict[str, Any]) -> None:
    expected = {document_id for document_id, metadata in shelf.metadata.items() if holds(tree, metadata)}
    assert found(shelf.tenant, "shared", mode="keyword", filters=tree) == expected


@pytest.mark.parametrize("op", ["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "exists", "contains", "prefix"])
@pytest.mark.parametrize("mode", ["semantic", "hybrid"])
def test_each_operator_selects_the_same_in_every_mode(shelf: Shelf, op: str, mode: str) -> None:
    value: Any = {"in": ["red", 1, True], "nin": ["red", 1, True], "exists": True}.get(op, "blue")
    tree = {"field": "a", "op": op, "value": value}
    expected = {document_id for document_id, metadata in shelf.metadata.items() if holds(tree, metadata)}
    assert 0 < len(expected) < DOCUMENTS
    assert found(shelf.tenant, "shared", mode=mode, filters=tree) == expected


def test_a_field_may_be_written_with_the_word_metadata(shelf: Shelf) -> None:
    plain = {"field": "n.x", "op": "exists", "value": True}
    assert found(shelf.tenant, "shared", filters=plain | {"field": "metadata.n.x"}) == found(
        shelf.tenant, "shared", filters=plain
    )


@pytest.mark.parametrize("field", ["a", "key", "size"])
def test_in_and_nin_take_a_thousand_values(shelf: Shelf, field: str) -> None:
    values = [number if field == "size" else f"none {number}" for number in range(-1000, 0)]
    assert found(shelf.tenant, "shared", filters={"field": field, "op": "in", "value": values}) == set()
    everything = set(shelf.metadata)
    assert found(shelf.tenant, "shared", filters={"field": field, "op": "nin", "value": values}) == everything
    if field == "a":
        several = {"field": "a", "op": "in", "value": [*values[2:], "red", 1]}
        expected = {document_id for document_id, metadata in shelf.metadata.items() if holds(several, metadata)}
        assert found(shelf.tenant, "shared", filters=several) == expected


def test_more_values_than_a_statement_bears_are_refused_not_unavailable(shelf: Shelf) -> None:
    tree = {"or": [{"field": "a", "op": "in", "value": [f"none {number}" for number in range(1000)]}] * 40}
    answer = shelf.tenant.post("/search", json={"query": "shared", "filters": tree})
    assert_refused(answer, 400, "invalid_request")


# -- long texts, system fields


def test_texts_that_differ_only_far_behind_are_told_apart(tenant: httpx.Client) -> None:
    long = "x" * 5000
    one = upload_ready(tenant, "shared", metadata={"t": long + "a"})["document_id"]
    two = upload_ready(tenant, "shared", metadata={"t": long + "b"})["document_id"]
    assert found(tenant, "shared", filters={"field": "t", "op": "eq", "value": long + "a"}) == {one}
    assert found(tenant, "shared", filters={"field": "t", "op": "gt", "value": long + "a"}) == {two}
    assert found(tenant, "shared", filters={"field": "t", "op": "eq", "value": long}) == set()


def test_times_are_ordered_as_instants_and_large_integers_exactly(tenant: httpx.Client) -> None:
    early = {"at": "2024-01-01T12:00:00+02:00", "n": 2**60 + 1, "ids": [-(2**60) - 1]}
    late = {"at": "2024-01-01T11:00:00Z", "n": 2**60 + 2, "ids": [10**20]}
    one, two = (upload_ready(tenant, "shared", metadata=each)["document_id"] for each in (early, late))

    def passing(field: str, op: str, value: Any) -> set[str]:
        return found(tenant, "shared", filters={"field": field, "op": op, "value": value})

    assert passing("at", "lt", "2024-01-01T10:30:00Z") == {one}
    assert passing("at", "gte", "2024-01-01T05:00:00-05:00") == {one, two}
    assert passing("at", "eq", "2024-01-01T10:00:00Z") == set(), "equal are only equal texts"
    assert passing("at", "gte", "2024-01-02") == set()
    assert passing("n", "eq", 2**60 + 2) == passing("n", "gt", 2**60 + 1) == passing("n", "nin", [2**60 + 1]) == {two}
    assert passing("n", "lte", 2**60 + 1) == passing("ids", "contains", -(2**60) - 1) == {one}
    assert passing("ids", "gt", 10**20 - 1) == {two}
    listed = tenant.get("/documents", params={"metadata.n": str(2**60 + 1)}).json()["documents"]
    assert [document["document_id"] for document in listed] == [one]


@pytest.fixture(scope="module")
def system(deployment: Deployment) -> Iterator[tuple[httpx.Client, list[dict[str, Any]]]]:
    """Three documents, oldest first; the last has no key."""
    with new_tenant(deployment, "System") as tenant:
        made = [put(tenant, key, "shared " * size).json() for key, size in (("a/one.txt", 1), ("A/two.txt", 2))]
        made.append(upload(tenant, "shared " * 3, filename="three.md", content_type="text/markdown"))
        yield tenant, [ended(tenant, document["document_id"]) for document in made]


@pytest.mark.parametrize(
    ("field", "op", "value", "expected"),
    [
        ("key", "eq", "a/one.txt", [0]),
        ("key", "ne", "a/one.txt", [1, 2]),
        ("key", "prefix", "a/", [0]),
        ("key", "contains", "/t", [1]),
        ("key", "exists", False, [2]),
        ("key", "in", ["a/one.txt", "A/two.txt", "x"], [0, 1]),
        ("key", "nin", ["a/one.txt"], [1, 2]),
        ("key", "gt", "B", [0]),
        ("filename", "eq", "three.md", [2]),
        ("filename", "contains", ".txt", [0, 1]),
        ("content_type", "eq", "text/markdown", [2]),
        ("content_type", "prefix", "text/", [0, 1, 2]),
        ("size", "eq", 7, [0]),
        ("size", "gt", 7.5, [1, 2]),
        ("size", "lte", 14, [0, 1]),
        ("size", "in", [7, 21], [0, 2]),
        ("size", "in", [], []),
        ("size", "nin", [], [0, 1, 2]),
        ("uploaded_at", "gte", "2020-01-01T00:00:00Z", [0, 1, 2]),
        ("uploaded_at", "lt", "2020-01-01T00:00:00+01:00", []),
        ("updated_at", "exists", True, [0, 1, 2]),
    ],
)
def test_system_fields_select(
    system: tuple[httpx.Client, list[dict[str, Any]]], field: str, op: str, value: Any, expected: list[int]
) -> None:
    tenant, documents = system
    wanted = {documents[number]["document_id"] for number in expected}
    assert found(tenant, "shared", filters={"field": field, "op": op, "value": value}) == wanted


def test_ids_digests_and_exact_times_select(system: tuple[httpx.Client, list[dict[str, Any]]]) -> None:
    tenant, documents = system
    for field in ("document_id", "sha256", "uploaded_at"):
        for document in documents:
            equals = {"field": field, "op": "eq", "value": document[field]}
            assert found(tenant, "shared", filters=equals) == {document["document_id"]}


# -- refusals


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"field": "a", "op": "like", "value": "x"},
        {"field": "a", "op": "EQ", "value": "x"},
        {"field": "a", "op": ["eq"], "value": "x"},
        {"field": "a", "op": "eq"},
        {"field": "a", "value": 1},
        {"op": "eq", "value": 1},
        {"field": "a", "op": "eq", "value": 1, "more": 1},
        {"field": "", "op": "eq", "value": 1},
        {"field": 1, "op": "eq", "value": 1},
        {"field": "x" * 513, "op": "eq", "value": 1},
        {"field": "a", "op": "eq", "value": None},
        {"field": "a", "op": "eq", "value": [1]},
        {"field": "a", "op": "eq", "value": {"b": 1}},
        {"field": "a", "op": "gt", "value": True},
        {"field": "a", "op": "lt", "value": [1]},
        {"field": "a", "op": "in", "value": "red"},
        {"field": "a", "op": "in", "value": [["red"]]},
        {"field": "a", "op": "nin", "value": [None]},
        {"field": "a", "op": "in", "value": list(range(1001))},
        {"field": "a", "op": "exists", "value": "true"},
        {"field": "a", "op": "exists", "value": 1},
        {"field": "a", "op": "contains", "value": ""},
        {"field": "a", "op": "contains", "value": ["x"]},
        {"field": "a", "op": "prefix", "value": ""},
        {"field": "a", "op": "prefix", "value": 1},
        {"field": "size", "op": "eq", "value": "7"},
        {"field": "size", "op": "gt", "value": "7"},
        {"field": "size", "op": "in", "value": [7, "7"]},
        {"field": "size", "op": "prefix", "value": "7"},
        {"field": "size", "op": "contains", "value": 7},
        {"field": "key", "op": "eq", "value": 7},
        {"field": "filename", "op": "gt", "value": 7},
        {"field": "uploaded_at", "op": "gt", "value": "yesterday"},
        {"field": "uploaded_at", "op": "gt", "value": "2020-01-01T00:00:00"},
        {"field": "uploaded_at", "op": "gt", "value": "0001-01-01T00:00:00+14:00"},
        {"field": "uploaded_at", "op": "gt", "value": 2020},
        {"field": "uploaded_at", "op": "prefix", "value": "2020"},
        {"and": []},
        {"or": []},
        {"and": {"field": "a", "op": "eq", "value": 1}},
        {"not": []},
        {"not": {}},
        {"and": [{"field": "a", "op": "eq", "value": 1}], "or": [{"field": "a", "op": "eq", "value": 1}]},
        {"not": {"field": "a", "op": "eq", "value": 1}, "field": "a"},
        {"xor": [{"field": "a", "op": "eq", "value": 1}]},
        {"and": ["text"]},
        {"and": [{"field": "a", "op": "eq", "value": 1}] * 101},
        {"not": {"not": {"not": {"not": {"not": {"not": {"not": {"not": {"field": "a", "op": "eq", "value": 1}}}}}}}}},
        {"field": "a", "op": "gt", "value": 10**400},
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_and_never_ignored(reader: httpx.Client, tree: Any) -> None:
    answer = reader.post("/search", json={"query": "x", "filters": tree})
    assert_refused(answer, 400, "invalid_request")


def test_a_refused_operator_names_those_that_exist(reader: httpx.Client) -> None:
    tree = {"field": "a", "op": "like", "value": "x"}
    error = assert_refused(reader.post("/search", json={"query": "x", "filters": tree}), 400, "invalid_request")
    assert error["details"]["operators"] == sorted(
        ["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "exists", "contains", "prefix"]
    )
