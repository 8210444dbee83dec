"""Text written against the code that reads it: no crash, right offsets, and no character looked at over and over."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s4.engine.chunking import chunk, chunker
from s4.engine.chunking.chunker import _matches
from s4.engine.embedding import approximate
from s4.engine.extraction import markup
from s4.engine.extraction.decode import clean, decode_text
from s4.engine.extraction.model import ExtractedText
from s4.engine.extraction.readers import _without_unread
from s4.kernel.errors import DocumentRejected

PIECES = ["[", "]", "(", ")", "![", "](", "*", "**", "_", "`", "```", "#", "# ", "|", "\\", "---", "title:", "\n", "  ",
          "<head>", "</head>", "<svg ", "</svg>", "a", "Ö", "\U0001f600", "\x00", "\f", "\u2029", ".", "! ",
          "word "]  # fmt: skip
HOSTILE = st.lists(st.tuples(st.sampled_from(PIECES), st.integers(1, 40)), max_size=30).map(
    lambda runs: "".join(piece * count for piece, count in runs)
)


@given(HOSTILE)
@settings(max_examples=200, deadline=None)
def test_markdown_of_any_marks_has_headings_inside_the_text(text: str) -> None:
    cleaned = clean(text)
    for read, headings in ((cleaned, markup.headings_of(cleaned)), markup.readable(cleaned)):
        for heading in headings:
            assert heading.char_start == 0 or read[heading.char_start - 1] == "\n"
            assert 0 < len(heading.title) <= markup.HEADING_TITLE_CHARS_MAX
    markup.front_matter_title(cleaned)


@given(HOSTILE)
@settings(max_examples=200, deadline=None)
def test_html_loses_heads_and_drawings_that_are_closed_and_nothing_else(text: str) -> None:
    simple = re.compile(r"<head[\s>].*?</head\s*>|<svg[\s>].*?</svg\s*>", re.IGNORECASE | re.DOTALL)
    left = _without_unread(text)
    assert len(left) <= len(text)
    if not simple.search(text):
        assert left == text


@given(st.binary(max_size=400), st.sampled_from([None, "utf-8", "utf-16", "shift_jis", "rot13", "idna", "\x00"]))
@settings(max_examples=200, deadline=None)
def test_any_bytes_become_storable_text_or_none(data: bytes, charset: str | None) -> None:
    decoded = decode_text(data, charset=charset)
    if decoded is not None:
        assert "\x00" not in clean(decoded[0])
        clean(decoded[0]).encode()


@given(HOSTILE, st.sampled_from([("_PARAGRAPH", 300), ("_SENTENCE", 8), ("_LINE", 8)]))
@example("a" + "\n" * 40 + "b", ("_LINE", 8))
@example("a." + " " * 40 + "B", ("_SENTENCE", 8))
@settings(max_examples=200, deadline=None)
def test_searching_by_windows_finds_what_one_search_finds(text: str, sought: tuple[str, int]) -> None:
    """An empty line is found within the break only; the rest by its beginning, however long it is."""
    name, break_chars = sought
    pattern = getattr(chunker, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunker, "_SEARCH_CHARS", 7)
        patch.setattr(chunker, "_BREAK_CHARS", break_chars)
        by_windows = [match.span() for match in _matches(pattern, text)]
    assert by_windows == [match.span() for match in pattern.finditer(text)]


@given(HOSTILE)
@settings(max_examples=100, deadline=None)
def test_any_text_is_cut_or_refused(text: str) -> None:
    extracted = ExtractedText(clean(text), (), markup.headings_of(clean(text)), None, "text/markdown", ())
    pieces = chunk(
        extracted, token_offsets=approximate.token_offsets, tokens_max=32, overlap_tokens=8, chunks_max=10_000
    )
    assert all(piece.text == extracted.text[piece.char_start : piece.char_end] for piece in pieces)


def test_the_tokenizer_sees_a_long_text_in_small_windows_and_stops_when_it_makes_too_many_chunks() -> None:
    seen: list[int] = []

    def counted(text: str) -> list[tuple[int, int]]:
        seen.append(len(text))
        return approximate.token_offsets(text)

    extracted = ExtractedText("." * 1_000_000, (), (), None, "text/plain", ())
    with pytest.raises(DocumentRejected, match="Split it") as caught:
        chunk(extracted, token_offsets=counted, tokens_max=256, overlap_tokens=0, chunks_max=100)

    assert caught.value.code == "text_too_long"
    assert max(seen) <= 8_192, "the interpreter's lock is held for as long"
    assert sum(seen) < 50_000, "100 chunks of 256 tokens are 25,600; the rest need not be read"


@pytest.mark.parametrize("mark", ["[", "![", "[a](", "![](", "*a ", "**a", "`a", "__a ", "\\", "# ", "  #", "a  "])
def test_a_title_of_any_marks_is_bounded_work(mark: str) -> None:
    """A million marks in lines of any length: a square of it would take hours, and this test its time-out."""
    line = mark * (1_000_000 // len(mark))
    markup.readable(line)
    markup.headings_of(f"# {line[:1190]}\n" * 500)
    markup.front_matter_title(f"---\ntitle: {line}\n---\n")
    markup.plain_title(line)
