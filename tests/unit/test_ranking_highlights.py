"""Which words of a chunk are marked, and that the marks can be used as they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4.engine.analysis import parse
from s4.engine.ranking import Highlighter


def marked(query: str, text: str) -> list[str]:
    return [text[start:end] for start, end in Highlighter(parse(query)).spans(text)]


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("running", "He runs, she RUN, they ran.", ["runs", "RUN"]),
        ("boundary layers", "the Boundary-layer theory", ["Boundary", "layer"]),
        ("cafe", "Café, cafe\u0301 and caffeine", ["Café", "cafe\u0301"]),
        ("résumé", "my resume", ["resume"]),
        ("studies", "study studied studying", ["study", "studied", "studying"]),
        ("compressed", "compression", ["compression"]),
        ("user_name", "name of the user", ["name", "user"]),
        ("straße", "STRASSE", ["STRASSE"]),
        ("Привет", "привет 🙂 мир", ["привет"]),
        ("v2 2024", "In 2024, v2 came; 20245 did not", ["2024", "v2"]),
        ("string", "strong strings", ["strings"]),
        ("what is the wing", "what is the wing", ["wing"]),
        ("the of and", "the of it", ["the", "of"]),
        ("東京都", "私は東京都に", ["東京都"]),
        ("京都 犬", "犬は京都", ["犬", "京都"]),
        ("Häuser", "Das Haus steht", ["Haus"]),
        ("bees", "being among bees", ["bees"]),
        ("", "anything", []),
        ('"( AND -', "AND (", ["AND"]),
    ],
)
def test_words_of_the_query_are_marked(query: str, text: str, expected: list[str]) -> None:
    assert marked(query, text) == expected


def test_offsets_count_code_points_of_the_original_text() -> None:
    text = "🙂🙂 ﬁne İstanbul apple"

    assert Highlighter(parse("apple")).spans(text) == [(text.index("apple"), len(text))]


def test_marks_are_bounded() -> None:
    assert len(Highlighter(parse("apple")).spans("apple " * 1000)) == 50
    assert len(Highlighter(parse("apple")).spans("apple " * 1000, limit=3)) == 3


def test_matched_are_the_querys_words_and_what_it_names_as_they_stand_there() -> None:
    query = parse('the Pumps "stopped after" ERR-4711 東京 nowhere')

    assert Highlighter(query).matched("A pump stopped after err-4711 in 東京.") == [
        "Pumps", "stopped", "ERR", "4711", "東京", "stopped after", "ERR-4711",
    ]  # fmt: skip


@given(st.text(max_size=200), st.text(max_size=50))
def test_marks_lie_in_the_text_ascending_and_apart(text: str, query: str) -> None:
    # The query's own words are put into the text, so that there is something to find.
    text = f"{text} {query}"
    previous_end = 0
    for start, end in Highlighter(parse(query)).spans(text):
        assert previous_end <= start < end <= len(text)
        previous_end = end


@given(st.text(alphabet="abcdefgilnorsty", min_size=4, max_size=12))
def test_a_word_is_always_found_by_itself(word: str) -> None:
    if parse(word).terms:
        assert marked(word, f"x {word}, x") == [word]


@given(
    st.lists(st.sampled_from(["valve", "Valves", "_valve", "0valve", "valved", "envalve", "run", "running", "a"])),
    st.sampled_from([" ", "_", "-", ""]),
    st.sampled_from(["valve", "run valves", "valved running", "0valve", "a"]),
)
def test_plain_text_is_marked_as_any_other(words: list[str], between: str, query: str) -> None:
    """Text of ASCII alone goes a shorter way."""
    text = between.join(words)
    highlighter = Highlighter(parse(query))

    assert highlighter.spans(text) == highlighter.spans(f"{text} é")
