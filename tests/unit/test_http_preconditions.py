"""If-Match and If-None-Match, RFC 9110 section 13."""

import pytest

from s4.kernel.errors import InvalidRequest, PreconditionFailed
from s4.platform.http.preconditions import ETag, ETagList, Preconditions, etag, parse_etags


def test_a_revision_is_a_quoted_tag() -> None:
    assert etag(12) == '"r12"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("*", ETagList(any=True)),
        (" * ", ETagList(any=True)),
        ('"r1"', ETagList((ETag("r1"),))),
        ('W/"r1"', ETagList((ETag("r1", weak=True),))),
        ('"r1", W/"r2" ,,"r3"', ETagList((ETag("r1"), ETag("r2", weak=True), ETag("r3")))),
        ('"a,b", ""', ETagList((ETag("a,b"), ETag("")))),
        (',"r1",', ETagList((ETag("r1"),))),
    ],
)
def test_lists_of_tags_are_read(header: str, expected: ETagList) -> None:
    assert parse_etags(header) == expected


@pytest.mark.parametrize(
    "header", ["", ",", "r1", '"r1', '"r1" "r2"', 'w/"r1"', '*, "r1"', '"r1"x', ",".join(['"a"'] * 101)]
)
def test_a_malformed_precondition_is_refused_rather_than_ignored(header: str) -> None:
    with pytest.raises(InvalidRequest, match="If-None-Match"):
        parse_etags(header, name="If-None-Match")


def test_without_conditions_every_write_and_read_passes() -> None:
    nothing = Preconditions.parse()

    nothing.check_write(None)
    nothing.check_write(3)
    assert nothing.check_read(3)


@pytest.mark.parametrize(("header", "revision"), [('"r3"', 3), ('"r1", "r3"', 3), ("*", 3)])
def test_if_match_lets_the_named_revision_be_written(header: str, revision: int) -> None:
    Preconditions.parse(if_match=header).check_write(revision)


@pytest.mark.parametrize(("header", "revision"), [('"r3"', 4), ('W/"r3"', 3), ("*", None), ('"r3"', None), ('"R3"', 3)])
def test_if_match_stops_a_write_to_anything_else(header: str, revision: int | None) -> None:
    with pytest.raises(PreconditionFailed):
        Preconditions.parse(if_match=header).check_write(revision)


def test_if_none_match_star_creates_but_never_replaces() -> None:
    create_only = Preconditions.parse(if_none_match="*")

    create_only.check_write(None)
    with pytest.raises(PreconditionFailed) as refusal:
        create_only.check_write(1)
    assert refusal.value.details == {"current": '"r1"'}


@pytest.mark.parametrize(("header", "send"), [('"r3"', False), ('W/"r3"', False), ("*", False), ('"r2"', True)])
def test_if_none_match_saves_sending_what_the_caller_holds(header: str, send: bool) -> None:
    assert Preconditions.parse(if_none_match=header).check_read(3) is send


def test_if_match_on_a_read_fails_for_another_revision() -> None:
    with pytest.raises(PreconditionFailed):
        Preconditions.parse(if_match='"r2"').check_read(3)
