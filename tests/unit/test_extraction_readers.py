"""What each format becomes: text that reads well, right offsets, and refusals that say what to do."""

import codecs
import contextlib
import json
from pathlib import Path

import pytest

from s4.engine.extraction import ExtractedText, HeadingSpan, PageSpan
from s4.engine.extraction.readers import Limits, extract
from s4.kernel.errors import DataCorrupt, DocumentRejected
from tests.factories import files
from tests.factories.extracted import outline, page_texts
from tests.factories.reading import make_limits

LIMITS = make_limits(text_chars_max=100_000, pages_max=20)
PROSE = "The pump draws water from the lower basin and lifts it to the tower above the town."


@pytest.fixture
def read(tmp_path: Path):
    def _read(
        data: bytes | str, name: str = "file", *, declared: str | None = None, limits: Limits = LIMITS
    ) -> ExtractedText:
        path = tmp_path / "upload"
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        extracted = extract(path, filename=name, declared=declared, limits=limits)
        assert ExtractedText.from_json_bytes(extracted.to_json_bytes()) == extracted
        return extracted

    return _read


@pytest.fixture
def refused(read):
    def _refused(data: bytes | str, name: str = "file", **options) -> DocumentRejected:
        with pytest.raises(DocumentRejected) as caught:
            read(data, name, **options)
        assert caught.value.message.endswith(".")
        return caught.value

    return _refused


# -- PDF


def test_pages_of_a_pdf_are_counted_in_code_points(read):
    extracted = read(files.pdf([["Über Öl und Größe"], ["Zweite Seite"], [], ["Äußerst spät"]], title="Müll"))

    assert page_texts(extracted) == ["Über Öl und Größe", "Zweite Seite", "", "Äußerst spät"]
    assert [page.number for page in extracted.pages] == [1, 2, 3, 4]
    assert extracted.pages[0].char_start == 0
    assert extracted.pages[-1].char_end == len(extracted.text)
    assert extracted.content_type == "application/pdf"
    assert extracted.title == "Müll"
    assert "1 of 4 pages" in extracted.warnings[0]


def test_numbered_chapters_of_a_pdf_are_headings_and_running_heads_are_not_text(read):
    chapters = ["1 Safety", "2 Überprüfung", "2.1 Valves", "3 Repair"]
    pages = [[f"Service manual FH · {n}", chapter, PROSE, PROSE] for n, chapter in enumerate(chapters, 1)]

    extracted = read(files.pdf(pages))

    assert outline(extracted) == [(1, "1 Safety"), (1, "2 Überprüfung"), (2, "2.1 Valves"), (1, "3 Repair")]
    assert page_texts(extracted)[2].startswith("## 2.1 Valves")
    assert extracted.text.count("Service manual FH") == 1


def test_numbered_lists_and_tables_of_contents_make_no_headings_in_a_pdf(read):
    contents = [f"{n} Chapter . . . . . . . . . {n}" for n in range(1, 5)]
    steps = [f"{n} Open the valve" for n in range(1, 6)]

    extracted = read(files.pdf([contents, [PROSE, *steps, PROSE]]))

    assert [title for _, title in outline(extracted) if title[0].isdigit()] == []
    assert "3 Open the valve" in extracted.text


def test_a_pdf_keeps_its_last_line(read):
    body = [f"Line {n} of the page, long enough to be prose in the eyes of a parser." for n in range(50)]

    extracted = read(files.pdf([[*body, "for a winter."]] * 2))

    assert all(text.endswith("for a winter.") for text in page_texts(extracted))


def test_a_pdf_called_txt_is_a_pdf(read):
    assert read(files.pdf([["Hello"]]), "notes.txt", declared="text/plain").content_type == "application/pdf"


def test_a_pdf_after_junk_is_a_pdf(read):
    assert read(b"\x00\x81junk\n" + files.pdf([["Hello"]])).text == "Hello"


def test_a_pdf_without_text_is_empty_and_says_scan(refused):
    error = refused(files.pdf([[], []]))

    assert error.code == "empty"
    assert "scan" in error.message


def test_a_protected_pdf_is_encrypted(refused):
    assert refused(files.pdf([["secret"]], encrypted=True)).code == "encrypted"


def test_a_truncated_pdf_is_corrupt(refused):
    assert refused(files.pdf([["Hello"]])[:200]).code == "corrupt"


def test_too_many_pages_are_refused_before_they_are_read(refused):
    error = refused(files.pdf([["x"]] * 21))

    assert error.code == "too_many_pages"
    assert "21" in error.message


# -- office files


def test_word_keeps_ampersands_and_angle_brackets(read):
    extracted = read(files.docx([(1, "Über R&D"), (0, "Größe 5 > 3 und <tag>"), (2, "Zwei"), (0, "# keine *Raute*")]))

    assert [title for _, title in outline(extracted)] == ["Über R&D", "Zwei"]
    assert extracted.headings[0].level < extracted.headings[1].level
    assert "Größe 5 > 3 und <tag>" in extracted.text
    assert "\n# keine *Raute*" in extracted.text
    assert extracted.pages == ()
    assert extracted.content_type.endswith("wordprocessingml.document")


def test_slides_are_pages_with_their_titles_as_headings(read):
    extracted = read(files.pptx([["Öl & Gas", "erster Punkt"], ["Zwei", "Größe"], ["Drei", "x"]]), "talk.pptx")

    assert page_texts(extracted) == ["# Öl & Gas\n\nerster Punkt", "# Zwei\n\nGröße", "# Drei\n\nx"]
    assert outline(extracted) == [(1, "Öl & Gas"), (1, "Zwei"), (1, "Drei")]


def test_a_damaged_word_file_is_corrupt(refused):
    assert refused(files.docx([(0, "text")])[:-80], "letter.docx").code == "corrupt"


def test_an_encrypted_word_file_is_encrypted(refused):
    container = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512) + "EncryptedPackage".encode("utf-16-le") + bytes(512)

    assert refused(container, "letter.docx").code == "encrypted"


def test_a_zip_with_a_password_is_encrypted(refused):
    data = bytearray(files.zipped({"a.txt": b"text"}))
    data[6] |= 1  # the flag of the local header, and of the central directory
    data[data.index(b"PK\x01\x02") + 8] |= 1

    assert refused(bytes(data)).code == "encrypted"


# -- text


@pytest.mark.parametrize(
    "data",
    [
        "Größe 𝄞 ok".encode(),
        codecs.BOM_UTF8 + "Größe 𝄞 ok".encode(),
        "Größe 𝄞 ok".encode("utf-16"),
        codecs.BOM_UTF16_BE + "Größe 𝄞 ok".encode("utf-16-be"),
        "Größe 𝄞 ok".encode("utf-32"),
    ],
)
def test_every_unicode_encoding_becomes_the_same_text(read, data):
    assert read(data, "a.txt").text == "Größe 𝄞 ok"


def test_latin1_and_utf16_without_a_mark_are_recognised(read):
    assert read("Größe, naïve café".encode("latin-1")).text == "Größe, naïve café"
    assert read("Plain words in wide letters".encode("utf-16-le")).text == "Plain words in wide letters"
    assert read("Größe in wide letters".encode("utf-16-be")).text == "Größe in wide letters"


def test_a_declared_charset_is_believed_where_the_bytes_do_not_decide(read):
    data = "Привет, это текст на русском языке".encode("cp1251")

    assert read(data, declared="text/plain; charset=windows-1251").text == "Привет, это текст на русском языке"


def test_a_few_damaged_bytes_do_not_change_the_encoding(read):
    data = "Ä Ö Ü ß ".encode() * 50 + b"\xff Ende"

    extracted = read(data)

    assert extracted.text.startswith("Ä Ö Ü ß")
    assert "replaced" in extracted.warnings[0]


def test_control_characters_and_returns_are_gone_before_offsets_are_counted(read):
    extracted = read(f"\x00one\r\n\x00\r\n# Zwö\r\n{PROSE}\rfour\x0cfive", "a.md")

    assert extracted.text == f"one\n\n# Zwö\n{PROSE}\nfour\nfive"
    assert extracted.headings == (HeadingSpan(1, "Zwö", 5),)


def test_markdown_stays_as_it_was_written(read):
    text = (
        "---\ntitle: 'Das Buch'\n---\n# Über *alles*\n\n```sh\n# no heading\n```\n\n"
        "Unterstrichen\n---\n\n| a | b |\n|---|---|\n\n## [Zwei](http://x/y) ##\n"
    )

    extracted = read(text, "README.md")

    assert extracted.text == text
    assert extracted.title == "Das Buch"
    assert [(heading.level, heading.title) for heading in extracted.headings] == [
        (1, "Über alles"),
        (2, "Unterstrichen"),
        (2, "Zwei"),
    ]
    assert [text[heading.char_start] for heading in extracted.headings] == ["#", "U", "#"]


def test_markdown_that_begins_with_html_is_markdown_by_its_name(read):
    text = '<p align="center">logo</p>\n\n# Title\n'

    assert read(text, "README.md").content_type == "text/markdown"
    assert read(text, "README").content_type == "text/html"


def test_html_gives_headings_title_and_text_without_scripts(read):
    extracted = read(
        "<html><head><title>Ö &amp; Co</title><script>var x = '<h1>no</h1>'</script></head><body>"
        "<h1>Über uns</h1><p>5 &gt; 3 &amp; mehr</p><h2>Zwei</h2>"
        "<table><tr><th>a<th>b<tr><td>1<td>2</table><img alt=Bild src='data:image/png;base64,AAAA'></body></html>",
        "page.bin",
        declared="application/octet-stream",
    )

    assert extracted.title == "Ö & Co"
    assert outline(extracted) == [(1, "Über uns"), (2, "Zwei")]
    assert "5 > 3 & mehr" in extracted.text
    assert "| 1 | 2 |" in extracted.text
    assert "base64" not in extracted.text
    assert "var x" not in extracted.text


def test_html_in_latin1_by_its_own_word(read):
    page = '<html><head><meta charset="iso-8859-2"></head><body><p>żółw</p></body></html>'

    assert read(page.encode("iso-8859-2"), "a.html").text == "żółw"


def test_csv_becomes_a_table(read):
    extracted = read('Name;Preis\nÖl;"3|50"\nEssig;"zwei\nZeilen"\n', "a.csv")

    assert extracted.text == "| Name | Preis |\n| --- | --- |\n| Öl | 3\\|50 |\n| Essig | zwei Zeilen |"


@pytest.mark.parametrize("name", ["a.json", "a.yaml", "a.xml", "a.py", "a.txt"])
def test_data_and_code_are_kept_as_they_are(read, name):
    text = '# {"schlüssel": ["<wert>", 1]}\n'

    assert read(text, name).text == text


def test_a_notebook_shows_its_cells(read):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Titel\n", "Größe"]},
        {"cell_type": "code", "metadata": {}, "source": "# Zahl\n1 + 1", "outputs": []},
    ]
    notebook = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})

    extracted = read(notebook, "a.ipynb")

    assert extracted.text == "# Titel\nGröße\n\n```\n# Zahl\n1 + 1\n```"
    assert outline(extracted) == [(1, "Titel")]


@pytest.mark.parametrize(("name", "text"), [("a.rst", "Größe\n=====\n\nÖl & <x>\n"), ("a.org", "* Größe\nÖl & <x>\n")])
def test_light_markup_gives_headings(read, name, text):
    extracted = read(text, name)

    assert extracted.text == "# Größe\n\nÖl & <x>"
    assert outline(extracted) == [(1, "Größe")]


def test_mail_shows_who_and_what_and_its_attachments(read):
    extracted = read(
        "From: =?utf-8?q?=C3=96?= <a@b.c>\nSubject: Angebot & Preis\nMIME-Version: 1.0\n"
        "Content-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: text/html; charset=iso-8859-1\n"
        "Content-Transfer-Encoding: quoted-printable\n\n<h1>Gr=FC=DFe</h1><p>mehr</p>\n--B\n"
        "Content-Type: text/plain\nContent-Disposition: attachment; filename=x.txt\n\nattached\n--B--\n",
        "a.eml",
    )

    assert extracted.text == (
        "Subject: Angebot & Preis\nFrom: Ö <a@b.c>\nAttachments: x.txt\n\n# Grüße\n\nmehr\n\n# x.txt\n\nattached"
    )
    assert outline(extracted) == [(1, "Grüße"), (1, "x.txt")]
    assert extracted.title == "Angebot & Preis"


# -- refusals


def test_unknown_bytes_are_unsupported_whatever_their_name(refused):
    noise = bytes((index * 7919 + index // 251) % 256 for index in range(4096))

    assert refused(noise, "notes.txt", declared="text/plain").code == "unsupported_format"


def test_images_and_programs_are_unsupported(refused):
    assert "image" in refused(b"\x89PNG\r\n\x1a\n" + bytes(64), "scan.pdf").message
    assert refused(b"\x7fELF\x02\x01\x01" + bytes(4000), "a.txt").code == "unsupported_format"


@pytest.mark.parametrize("data", [b"", b" \n\n ", b"\x00\n"])
def test_files_without_text_are_empty(refused, data):
    assert refused(data, "a.txt").code in ("empty", "unsupported_format")


def test_too_much_text_is_refused(refused):
    limits = make_limits(text_chars_max=1000, pages_max=1)

    assert refused("word " * 201, "a.txt", limits=limits).code == "text_too_long"
    assert refused("<p>" + "word " * 300, "a.html", limits=limits).code == "text_too_long"


def test_a_bomb_in_a_word_file_is_refused_before_it_is_unpacked(refused):
    bomb = bytearray(files.docx([(0, "boom")]))
    entry = bomb.index(b"word/document.xml", bomb.index(b"PK\x01\x02"))
    bomb[entry - 22 : entry - 18] = (300_000_000).to_bytes(4, "little")  # its size unpacked, in the directory

    assert refused(bytes(bomb), "a.docx").code == "resource_limit"


@pytest.mark.parametrize("name", ["a.json", "a.xml", "a.md", "a.yaml", "a.ipynb"])
def test_nesting_without_end_is_harmless(read, name):
    opening, closing = ("<a>", "</a>") if name == "a.xml" else ("[", "]")
    limits = make_limits(text_chars_max=10_000_000, pages_max=1)

    assert "x" in read(opening * 100_000 + "x" + closing * 100_000, name, limits=limits).text


def test_html_nested_without_end_is_refused_or_read_but_nothing_worse(read):
    with contextlib.suppress(DocumentRejected):
        read("<div>" * 100_000 + "x" + "</div>" * 100_000, "a.html")


# -- the stored form


def test_the_stored_form_is_versioned_and_checked():
    extracted = ExtractedText("Öl", (PageSpan(1, 0, 2),), (HeadingSpan(1, "Öl", 0),), None, "text/plain", ())
    stored = json.loads(extracted.to_json_bytes())
    assert stored["format"] == 1

    for damage in ({"format": 2}, {"text": ""}, {"pages": [[1, 1, 0]]}, {"headings": [[1, "x", 9]]}, {"title": ...}):
        broken = {key: value for key, value in {**stored, **damage}.items() if value is not ...}
        with pytest.raises(DataCorrupt):
            ExtractedText.from_json_bytes(json.dumps(broken).encode())
    with pytest.raises(DataCorrupt):
        ExtractedText.from_json_bytes(b"\xff")
