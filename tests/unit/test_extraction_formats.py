"""Every format through a real child: text, pages and headings; told by content, whatever the file is called."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from s4.engine.extraction import ExtractedText, ExtractionPool
from s4.kernel.units import GIB
from tests.factories import formats
from tests.factories.formats import Sample, texts

SAMPLES = formats.samples()
WRONG_NAMES = ("file.txt", "file.pdf", "file.bin", "file", "file.docx", "file.html")
WRONG_TYPES = (None, "application/pdf", "text/plain; charset=utf-8", "text/html", "application/json")


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[ExtractionPool]:
    """One child for all: formats are what is tried here, not children."""
    made = ExtractionPool(processes=1, memory_bytes=GIB, seconds_max=60, text_chars_max=1_000_000, pages_max=100)
    yield made
    await made.aclose()


@pytest.fixture
def read(pool: ExtractionPool, tmp_path: Path):
    async def _read(data: bytes, name: str, declared: str | None = None) -> ExtractedText:
        path = tmp_path / "upload"
        path.write_bytes(data)
        return await pool.extract(path, filename=name, content_type=declared)

    return _read


def page_texts(extracted: ExtractedText) -> list[str]:
    return [extracted.text[page.char_start : page.char_end] for page in extracted.pages]


def assert_offsets(extracted: ExtractedText) -> None:
    for heading in extracted.headings:
        line = extracted.text[heading.char_start :].partition("\n")[0]
        assert line.lstrip("# ").startswith(heading.title)
        assert heading.char_start == 0 or extracted.text[heading.char_start - 1] == "\n"
    if extracted.pages:
        assert "".join(page_texts(extracted)) == extracted.text


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_a_format_gives_text_headings_and_pages(read, sample: Sample) -> None:
    extracted = await read(sample.data, sample.name)

    assert extracted.content_type == sample.content_type
    assert sample.says in extracted.text
    assert tuple((heading.level, heading.title) for heading in extracted.headings) == sample.headings
    assert [page.number for page in extracted.pages] == list(range(1, sample.pages + 1))
    assert sample.title is None or extracted.title == sample.title
    assert_offsets(extracted)


@pytest.mark.parametrize(
    "sample", [sample for sample in SAMPLES if sample.told_by_bytes], ids=lambda sample: sample.name
)
async def test_wrong_names_and_wrong_types_change_nothing_where_the_content_can_tell(read, sample: Sample) -> None:
    right = await read(sample.data, sample.name)

    for name in WRONG_NAMES:
        for declared in WRONG_TYPES:
            assert await read(sample.data, name, declared) == right, (name, declared)


@pytest.mark.parametrize(
    "sample", [sample for sample in SAMPLES if not sample.told_by_bytes], ids=lambda sample: sample.name
)
async def test_text_that_only_its_name_tells_apart_loses_no_word_under_another(read, sample: Sample) -> None:
    right = await read(sample.data, sample.name)

    for name in WRONG_NAMES:
        for declared in WRONG_TYPES:
            extracted = await read(sample.data, name, declared)
            assert extracted.content_type == "text/plain", (name, declared)
            assert set(_words(right.text)) <= set(_words(extracted.text))


def _words(text: str) -> list[str]:
    return "".join(char if char.isalnum() else " " for char in text).split()


@pytest.mark.parametrize("label", texts.ENCODED)
async def test_words_in_every_encoding_are_read_without_being_told_which(read, label: str) -> None:
    extracted = await read(texts.encoded(label), "letter.txt")

    assert extracted.text == texts.ENCODED[label]
    assert extracted.warnings == ()
