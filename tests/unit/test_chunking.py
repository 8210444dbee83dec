"""Chunks: exact slices, complete cover, within the budget, cut where an author would cut."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s4.engine.chunking import Chunk, TokenOffsets, chunk, real_title
from s4.engine.embedding import approximate
from s4.engine.embedding.wordpiece import WordPieceTokenizer, read_vocabulary
from s4.engine.extraction.model import ExtractedText, HeadingSpan, PageSpan
from s4.kernel.errors import DocumentRejected

WORDPIECE = WordPieceTokenizer(read_vocabulary()).token_offsets
SENTENCE = "The river rises in spring and floods the lower fields. "  # eleven tokens


def extracted(text: str, *, headings: tuple[HeadingSpan, ...] = (), pages: tuple[PageSpan, ...] = ()) -> ExtractedText:
    return ExtractedText(text=text, pages=pages, headings=headings, title=None, content_type="text/plain", warnings=())


def markdown(text: str) -> ExtractedText:
    """Headings where lines begin with `#`."""
    headings = []
    position = 0
    for line in text.splitlines(keepends=True):
        if line.startswith("#"):
            level = len(line) - len(line.lstrip("#"))
            headings.append(HeadingSpan(level=level, title=line[level:].strip(), char_start=position))
        position += len(line)
    return extracted(text, headings=tuple(headings))


def paged(*texts: str) -> ExtractedText:
    pages = []
    position = 0
    for number, text in enumerate(texts, start=1):
        pages.append(PageSpan(number=number, char_start=position, char_end=position + len(text)))
        position += len(text)
    return extracted("".join(texts), pages=tuple(pages))


def cut(
    source: ExtractedText | str,
    *,
    tokens_max: int = 64,
    overlap_tokens: int = 0,
    chunks_max: int = 10_000,
    title: str | None = None,
    token_offsets: TokenOffsets = WORDPIECE,
) -> list[Chunk]:
    return chunk(
        extracted(source) if isinstance(source, str) else source,
        token_offsets=token_offsets,
        tokens_max=tokens_max,
        overlap_tokens=overlap_tokens,
        chunks_max=chunks_max,
        title=title,
    )


@st.composite
def sources(draw: st.DrawFn) -> ExtractedText:
    """Text of any script with blanks and line ends of every kind, and arbitrary headings and pages."""
    pieces = st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            [
                *("\n", "\r\n", "\n\n", " ", "\t", "\f", ". ", "。", "\x00", "\u200b", "e\u0301" * 9),
                *("😀👩‍👩‍👧", "שלום עולם ", "مرحبا بالعالم ", "日本語の文章。", "한국어 ", "word " * 20),
                *("x" * 150, " " * 90, "\x01" * 70, SENTENCE * 3),
            ]
        ),
    )
    text = "".join(draw(st.lists(pieces, max_size=25)))
    places = st.lists(st.integers(0, len(text)), max_size=5)
    headings = tuple(
        HeadingSpan(level=draw(st.integers(1, 4)), title=draw(st.text(max_size=12)), char_start=place)
        for place in sorted(draw(places))
    )
    starts = [0, *sorted(draw(places))]
    pages = tuple(
        PageSpan(number=number, char_start=begin, char_end=end)
        for number, (begin, end) in enumerate(pairwise([*starts, len(text)]), start=1)
    )
    return extracted(text, headings=headings, pages=pages if draw(st.booleans()) else ())


TOKENIZERS = st.sampled_from([WORDPIECE, approximate.token_offsets])


@settings(max_examples=300, deadline=None)
@given(sources(), st.integers(16, 80), st.integers(0, 20), st.none() | st.text(max_size=60), TOKENIZERS)
@example(extracted(" \x01 word"), 16, 0, None, WORDPIECE)  # blanks before what the tokenizer drops
def test_chunks_are_exact_slices_that_cover_all_that_is_not_blank(
    source: ExtractedText, tokens_max: int, overlap: int, title: str | None, tokenizer: TokenOffsets
) -> None:
    chunks = cut(source, tokens_max=tokens_max, overlap_tokens=overlap, title=title, token_offsets=tokenizer)

    covered = bytearray(len(source.text))
    for ordinal, one in enumerate(chunks):
        assert one.ordinal == ordinal
        assert one.text == source.text[one.char_start : one.char_end]
        assert one.text == one.text.strip() != ""
        assert one.embed_text.endswith(one.text)
        assert (one.page is None) == (not source.pages)
        covered[one.char_start : one.char_end] = b"\1" * len(one.text)
    missed = [char for char, seen in zip(source.text, covered, strict=True) if not seen]
    assert not "".join(missed).strip()
    assert all(a.char_end < b.char_end and a.char_start < b.char_start for a, b in pairwise(chunks))


@given(st.lists(st.sampled_from([SENTENCE, "Short. ", "word ", "\n\n", "naïve café "]), max_size=80))
def test_what_is_embedded_fits_the_model(pieces: list[str]) -> None:
    for one in cut("".join(pieces), overlap_tokens=10, title="A title of several words that say something"):
        assert one.tokens == len(WORDPIECE(one.embed_text))
        assert one.tokens + 2 <= 64


def test_a_text_that_fits_is_one_chunk_and_is_embedded_as_it_is() -> None:
    text = SENTENCE * 20

    (only,) = cut(text, tokens_max=256)

    assert only.text == only.embed_text == text.strip()
    assert only.heading is None
    assert only.page is None


@pytest.mark.parametrize("text", ["", " ", "\n\r\n\t\f", " " * 100_000])
def test_a_blank_text_has_no_chunks(text: str) -> None:
    assert cut(text) == []


def test_a_long_text_is_cut_between_sentences() -> None:
    for one in cut(SENTENCE * 50):
        assert one.text.startswith("The river")
        assert one.text.endswith("fields.")


def test_paragraphs_are_kept_whole_in_preference_to_filling_the_room() -> None:
    paragraph = (SENTENCE * 3).strip()

    chunks = cut("\n\n".join([paragraph] * 6))

    assert [one.text for one in chunks] == [paragraph] * 6


def test_abbreviations_before_small_letters_do_not_end_a_sentence() -> None:
    text = "We measured many things, e.g. the weight of the stones, approx. ten of them in each of the rivers. " * 9

    assert not [one for one in cut(text) if one.text.startswith(("the weight", "ten of"))]


def test_sections_of_the_highest_level_are_never_joined() -> None:
    chunks = cut(markdown("# One\n\nFirst.\n\n# Two\n\nSecond.\n\n## Deep\n\nThird.\n\n# Three\n\nFourth."))

    assert [one.text.splitlines()[0] for one in chunks] == ["# One", "# Two", "# Three"]
    assert [one.heading for one in chunks] == ["One", "Two", "Three"]


def test_long_sections_are_cut_at_lower_headings() -> None:
    body = SENTENCE * 3
    chunks = cut(markdown(f"# Top\n\n## A\n\n{body}\n\n## B\n\n{body}\n\n## C\n\n{body}"))

    assert [one.heading for one in chunks] == ["Top", "Top > B", "Top > C"]
    assert [one.text[:4] for one in chunks[1:]] == ["## B", "## C"]


def test_a_passage_is_embedded_under_the_headings_that_it_does_not_contain() -> None:
    chunks = cut(markdown(f"# Guide\n\nIntro.\n\n## Setup\n\n{SENTENCE * 12}"))

    assert chunks[0].embed_text == chunks[0].text
    assert chunks[1].embed_text == f"Guide > Setup\n\n{chunks[1].text}"
    assert chunks[1].heading == "Guide > Setup"


def test_a_title_stands_before_what_does_not_say_it() -> None:
    text = "Floods of the Lower Valley\n\n" + SENTENCE * 12

    chunks = cut(text, title="Floods of the  lower valley")

    assert chunks[0].embed_text == chunks[0].text
    assert chunks[1].embed_text == f"Floods of the lower valley\n\n{chunks[1].text}"


def test_headings_without_end_take_a_bounded_part_of_the_budget() -> None:
    source = markdown(f"# {'endless words ' * 5_000}\n\n## {'more ' * 5_000}\n\n{SENTENCE * 40}")

    last = cut(source, tokens_max=256)[-1]

    assert last.heading is not None
    assert len(last.heading) < 450
    assert last.text.startswith("The river")
    assert len(WORDPIECE(last.embed_text)) - len(WORDPIECE(last.text)) <= 32


def test_chunks_do_not_cross_pages() -> None:
    chunks = cut(paged(SENTENCE * 4, "\n \n", SENTENCE * 8, SENTENCE * 2), overlap_tokens=8)

    assert [one.page for one in chunks] == [1, 3, 3, 4]


def test_a_tiny_piece_joins_the_next_page_and_the_page_is_where_most_of_it_stands() -> None:
    (only,) = cut(paged("Chapter one\n", SENTENCE * 4))

    assert only.text.startswith("Chapter one")
    assert only.page == 2


def test_a_tiny_last_page_joins_the_one_before() -> None:
    (only,) = cut(paged(SENTENCE * 4, "12\n"))

    assert only.text.endswith("12")
    assert only.page == 1


def test_no_chunk_spans_three_pages() -> None:
    chunks = cut(paged("One\n", "Two\n", "Three\n"))

    assert [one.text.split() for one in chunks] == [["One", "Two"], ["Three"]]


def test_neighbours_share_whole_sentences() -> None:
    chunks = cut("".join(f"Sentence number {number} says little. " for number in range(60)), overlap_tokens=16)

    for before, after in pairwise(chunks):
        assert after.text.startswith("Sentence number")
        shared = before.text[after.char_start - before.char_start :]
        assert 1 <= shared.count("Sentence") <= 2


def test_without_sentences_neighbours_share_whole_words() -> None:
    words = [f"word{number}" for number in range(400)]

    chunks = cut(" ".join(words), overlap_tokens=12)

    for before, after in pairwise(chunks):
        assert after.char_start < before.char_end
        assert after.text.split()[0] in words


def test_sections_share_nothing() -> None:
    body = SENTENCE * 3
    chunks = cut(markdown(f"# Top\n\n## A\n\n{body}\n\n## B\n\n{body}"), overlap_tokens=20)

    assert all(before.char_end <= after.char_start for before, after in pairwise(chunks))


def test_no_tail_is_left_too_small() -> None:
    for count in range(5, 40):
        assert min(one.tokens for one in cut("word " * (62 + count))) >= 7


def test_a_word_without_end_is_cut_into_bounded_chunks() -> None:
    chunks = cut("x" * 100_000)

    assert max(len(one.text) for one in chunks) <= 4 * 64
    assert sum(len(one.text) for one in chunks) == 100_000


def test_writing_without_blanks_is_cut_between_characters() -> None:
    text = "日本語の文章は空白なしで続く" * 5_000

    chunks = cut(text)

    assert "".join(one.text for one in chunks) == text
    assert max(one.tokens for one in chunks) <= 62


def test_characters_that_the_tokenizer_drops_do_not_make_a_chunk_endless() -> None:
    assert max(len(one.text) for one in cut("\x01" * 100_000 + "end")) < 64 * 40


def test_more_chunks_than_allowed_reject_the_document() -> None:
    text = SENTENCE * 50
    count = len(cut(text))

    assert len(cut(text, chunks_max=count)) == count
    with pytest.raises(DocumentRejected) as caught:
        cut(text, chunks_max=count - 1)
    assert caught.value.code == "text_too_long"


def test_the_tokenizer_never_sees_more_than_a_window() -> None:
    longest = 0

    def watched(text: str) -> list[tuple[int, int]]:
        nonlocal longest
        longest = max(longest, len(text))
        return approximate.token_offsets(text)

    cut(SENTENCE * 8_000, token_offsets=watched)
    assert 0 < longest <= 65_536


def test_windows_do_not_show_in_the_chunks() -> None:
    text = SENTENCE * 3_000  # two and a half windows
    chunks = cut(text)

    assert {one.text for one in chunks[:-2]} == {chunks[0].text}
    assert sum(one.tokens for one in chunks) == len(WORDPIECE(text))


@pytest.mark.parametrize(
    ("candidate", "file_name", "expected"),
    [
        ("Floods of the\n Lower Valley", "a.pdf", "Floods of the Lower Valley"),
        ("annual report 2024", "annual_report-2024.pdf", None),
        ("report final.docx", None, None),
        ("Microsoft Word - thesis draft", None, None),
        ("Untitled document", None, None),
        ("Slide 1", None, None),
        ("Introduction", None, None),
        ("scan 0042 17", None, None),
        ("  ", None, None),
        (None, None, None),
        ("words " * 100, None, None),
        ("日本 文書", None, "日本 文書"),
    ],
)
def test_only_a_real_title_is_taken_as_one(candidate: str | None, file_name: str | None, expected: str | None) -> None:
    assert real_title(candidate, file_name=file_name) == expected
