"""Every format through a real child: text, pages and headings; told by content, whatever the file is called."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from docx.oxml import OxmlElement

from s4.engine.extraction import ExtractedText, ExtractionPool
from s4.kernel.errors import DocumentRejected
from tests.factories import formats
from tests.factories.extracted import outline, page_texts
from tests.factories.formats import Sample, office, pdfs, texts
from tests.factories.reading import make_pool

SAMPLES = formats.samples()
WRONG = [
    *((name, None) for name in ("file.txt", "file.pdf", "file.bin", "file", "file.docx", "file.html", "file.eml")),
    *(("file", declared) for declared in ("application/pdf", "text/plain; charset=utf-8", "text/html")),
    ("file.json", "application/xml"),
]
"""Names and declared types, each wrong for all samples but one."""


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[ExtractionPool]:
    """One child for all: formats are what is tried here, not children."""
    made = make_pool()
    yield made
    await made.aclose()


@pytest.fixture
def read(pool: ExtractionPool, tmp_path: Path):
    async def _read(data: bytes, name: str, declared: str | None = None) -> ExtractedText:
        path = tmp_path / "upload"
        path.write_bytes(data)
        return await pool.extract(path, filename=name, content_type=declared)

    return _read


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_a_format_gives_text_headings_and_pages(read, sample: Sample) -> None:
    extracted = await read(sample.data, sample.name)

    assert extracted.content_type == sample.content_type
    assert sample.says in extracted.text
    assert tuple(outline(extracted)) == sample.headings
    assert [page.number for page in extracted.pages] == list(range(1, sample.pages + 1))
    assert len(page_texts(extracted)) == sample.pages
    assert sample.title is None or extracted.title == sample.title


@pytest.mark.parametrize(
    "sample", [sample for sample in SAMPLES if sample.told_by_bytes], ids=lambda sample: sample.name
)
async def test_wrong_names_and_wrong_types_change_nothing_where_the_content_can_tell(read, sample: Sample) -> None:
    right = await read(sample.data, sample.name)

    for name, declared in WRONG:
        assert await read(sample.data, name, declared) == right, (name, declared)


@pytest.mark.parametrize(
    "sample", [sample for sample in SAMPLES if not sample.told_by_bytes], ids=lambda sample: sample.name
)
async def test_text_that_only_its_name_tells_apart_loses_no_word_under_another(read, sample: Sample) -> None:
    right = await read(sample.data, sample.name)

    for name, declared in WRONG:
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


# -- what reads well, looked at closer


def lines_between(text: str, first: str, last: str) -> list[str]:
    return text[text.index(first) : text.index(last)].splitlines()


async def test_two_columns_are_read_one_after_the_other(read) -> None:
    extracted = await read(pdfs.two_columns(), "journal.pdf")

    flowing = " ".join(extracted.text.split())
    wanted = [f"Sentence {number} on section {section} explains" for section in range(1, 9) for number in range(1, 7)]
    places = [flowing.find(sentence) for sentence in wanted]
    assert -1 not in places
    assert places == sorted(places)
    assert "Sentence 1 on section 8" in page_texts(extracted)[1]


async def test_rows_of_a_pdfs_table_stay_together(read) -> None:
    extracted = await read(pdfs.table(), "parts.pdf")

    rows = lines_between(extracted.text, "Part Description", "Prices are without tax")
    assert "FH-2 Compressor gasket 2 20 29.50" in rows
    assert "FH-8 Compressor gasket 8 80 89.50" in rows
    broken = " ".join(rows[rows.index("FH-3") : rows.index("FH-4 Compressor gasket 4 40 49.50")])
    assert broken.startswith("FH-3 Vermilion gasket")
    assert broken.endswith("30 39.50")


async def test_pages_of_a_pdf_begin_with_what_stands_on_them(read) -> None:
    pages = page_texts(await read(pdfs.manual(), "manual.pdf"))

    assert [page.partition("\n")[0] for page in pages] == ["# Service manual", "# Maintenance", "# Repair"]


PROSE = [(10, "The pump draws water from the lower basin and lifts it to the tower.")] * 8


@pytest.mark.parametrize("scaled", [False, True])
async def test_a_heading_over_two_lines_is_one_and_two_headings_are_two(read, scaled: bool) -> None:
    lines = [(18, "Manual"), (18, "Care of the outdoor"), (18, "unit in winter"), *PROSE, (14, "Filters"), *PROSE]

    extracted = await read(pdfs.drawn(lines, scaled=scaled), "a.pdf")

    assert outline(extracted) == [
        (1, "Manual"),
        (1, "Care of the outdoor unit in winter"),
        (2, "Filters"),
    ]


async def test_a_word_broken_at_the_end_of_a_line_is_whole_again(read) -> None:
    lines = [(10, "The pump draws water from below and lifts it to the mainte-"), (10, "nance tower above the town.")]

    extracted = await read(pdfs.drawn(lines), "a.pdf")

    assert extracted.text.replace("\n", " ") == (
        "The pump draws water from below and lifts it to the maintenance tower above the town."
    )


async def test_sentences_and_text_that_is_large_throughout_are_no_headings_of_a_pdf(read) -> None:
    lines = [(18, "This is a motto, set large."), *PROSE, (13, "Half of the text is a little larger than the rest")] * 2

    extracted = await read(
        pdfs.drawn([*lines, *[(13, "and it goes on and on in this size")] * 8], scaled=False), "a.pdf"
    )

    assert extracted.headings == ()


async def test_a_pdf_that_anyone_may_open_but_not_print_is_read(read) -> None:
    assert "turquoise isolator" in (await read(pdfs.encrypted(opening_password=""), "a.pdf")).text


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (pdfs.encrypted(opening_password="secret"), "encrypted"),
        (pdfs.scan(), "empty"),
        (pdfs.damaged(), "corrupt"),
        (pdfs.manual()[:64] + bytes(range(256)) * 40, "corrupt"),
    ],
)
async def test_a_pdf_without_readable_text_says_why(read, data: bytes, code: str) -> None:
    with pytest.raises(DocumentRejected) as caught:
        await read(data, "a.pdf")

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("travel.docx", "| Köln | Dom | 120 € |"),
        ("prices.xlsx", "| FH-2 | Pump \\| large | 1200 | 2026-02-28 |"),
        ("training.pptx", "North\t11\t12"),
        ("incident.odt", "| Kiel | 12 |"),
        ("contract.rtf", "| Ventil | 12 |"),
        ("faq.html", "| Filter | 12 |"),
        ("customers.csv", "| Müller | Köln | 1.200,50 |"),
    ],
)
async def test_cells_of_a_row_stand_on_one_line(read, name: str, row: str) -> None:
    sample = next(sample for sample in SAMPLES if sample.name == name)

    assert row in (await read(sample.data, name)).text.splitlines()


async def test_sheets_of_a_workbook_follow_each_other_under_their_names(read) -> None:
    text = (await read(office.workbook(), "prices.xlsx")).text

    assert text.index("Prices") < text.index("Cerulean") < text.index("Stock") < text.index("| FH-1 | 40 |")


async def test_notes_of_a_slide_stand_on_its_page(read) -> None:
    first, second, third = page_texts(await read(office.slides(), "talk.pptx"))

    assert "ochre heat pump" in first
    assert "ochre" not in second
    assert third == ""


async def test_scripts_and_styles_of_a_page_are_no_text(read) -> None:
    text = (await read(texts.HTML.encode(), "faq.html")).text

    assert "script words" not in text
    assert "color" not in text


async def test_a_file_too_short_to_tell_is_read_as_western(read) -> None:
    for words in ("Größe", "300 €", "Voilà l'été", "25 °C", "naïve café", "Müller; Köln"):
        assert (await read(words.encode("cp1252"), "a.txt")).text == words


@pytest.mark.parametrize(
    ("name", "text", "content_type"),
    [
        ("a.html", "No tag in here, only a < b.", "text/plain"),
        ("a.eml", "Dear all,\n\nno header in here.", "text/plain"),
        ("a.json", "# not JSON", "text/plain"),
        ("a.xml", "not XML", "text/plain"),
        ("a.ipynb", "not a notebook", "text/plain"),
        ("a.txt", "From: a@b.c\nSubject: x\nDate: Mon, 02 Mar 2026 09:00:00 +0000\n\nwords", "message/rfc822"),
        ("a.yaml", "from: a\nto: b\n", "application/yaml"),
        ("a.jsonl", '{"a": 1}\n{"a": 2}\n', "application/jsonl"),
        ("a.xhtml", "<?xml version='1.0'?>\n<!-- x -->\n<html><body>words</body></html>", "text/html"),
        ("a.md", "<p>words</p>\n\n# Title", "text/markdown"),
    ],
)
async def test_a_name_is_believed_where_the_content_does_not_contradict(read, name, text, content_type) -> None:
    assert (await read(text.encode(), name)).content_type == content_type


async def test_nested_comments_without_end_take_no_time(read) -> None:
    text = "<!-- x --> " * 5_000 + "<p>words</p>"

    assert "words" in (await read(text.encode(), "a")).text


async def test_words_of_a_word_file_that_a_tab_or_a_hyphen_parts_stay_apart(read) -> None:
    document = docx.Document()
    document.add_paragraph("Name:\tSmith")
    document.add_paragraph("brokenhyph").runs[0]._r.append(OxmlElement("w:noBreakHyphen"))

    extracted = await read(office.saved(document), "a.docx")

    assert "Name: Smith" in extracted.text
    assert "brokenhyph-" in extracted.text


async def test_slides_are_numbered_as_they_are_shown(read) -> None:
    show = pptx.Presentation()
    for title in ("Made first", "Made second", "Made third"):
        show.slides.add_slide(show.slide_layouts[5]).shapes.title.text = title
    order = show.slides._sldIdLst
    order.insert(0, order[2])

    extracted = await read(office.saved(show), "a.pptx")

    assert outline(extracted) == [(1, "Made third"), (1, "Made first"), (1, "Made second")]


async def test_a_stray_cell_far_below_makes_no_rows_of_nothing(read) -> None:
    book = openpyxl.Workbook()
    book.active["A1"], book.active["B60000"] = "nearword", "farword"

    extracted = await read(office.saved(book), "a.xlsx")

    assert "nearword" in extracted.text
    assert "farword" in extracted.text
    assert len(extracted.text) < 1000


async def test_a_page_that_is_nested_too_deep_keeps_its_words_and_says_so(read) -> None:
    page = f"<html><body><p>before</p>{'<b>' * 600}nestedword{'</b>' * 600}</body></html>"

    extracted = await read(page.encode(), "a.html")

    assert "before" in extracted.text
    assert "nestedword" in extracted.text
    assert "nested too deep" in extracted.warnings[0]


async def test_a_notebook_is_one_wherever_its_cells_stand(read) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title"]},
        {"cell_type": "code", "source": "x", "outputs": ["hidden"]},
    ]
    for notebook in ({"nbformat": 4, "cells": cells}, {"metadata": {}, "cells": cells}):
        extracted = await read(json.dumps(notebook).encode(), "a.ipynb")

        assert extracted.text == "# Title\n\n```\nx\n```"


async def test_chapters_of_a_book_are_found_whatever_their_names(read) -> None:
    extracted = await read(office.book("the first chapter é.xhtml"), "a.epub")

    assert "The indigo train arrives at seven." in extracted.text
    assert extracted.text.index("indigo") < extracted.text.index("last ferry")
