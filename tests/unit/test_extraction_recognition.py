"""Text in images and scanned pages, recognised where the operator wants it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from s4.engine.extraction import ExtractedText, ExtractionPool, OcrLimits
from s4.engine.extraction.readers import extract
from s4.kernel.errors import DocumentRejected, InvalidRequest
from tests.factories.extracted import page_texts
from tests.factories.files import zipped
from tests.factories.formats import scans
from tests.factories.hostile import containers
from tests.factories.reading import make_limits, make_pool

pytestmark = pytest.mark.processes  # a page takes a second of a processor

SIGN = ["The crimson valve is closed", "before the boiler is opened."]
LETTER = ["Sehr geehrte Frau Grünbaum,", "die Wärmepumpe läuft wieder."]


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[ExtractionPool]:
    made = make_pool(ocr_languages="deu+eng", ocr_pages_max=3, memory_bytes=1 << 30)
    yield made
    await made.aclose()


async def read(pool: ExtractionPool, folder: Path, data: bytes, name: str) -> ExtractedText:
    path = folder / "upload"
    path.write_bytes(data)
    return await pool.extract(path, filename=name, content_type=None)


async def test_a_scanned_page_is_read_as_one_that_was_printed(pool: ExtractionPool, tmp_path: Path) -> None:
    data = scans.scanned_pdf(SIGN, "Printed on the second page.", "", LETTER)
    extracted = await read(pool, tmp_path, data, "scan.pdf")

    sign, printed, blank, letter = page_texts(extracted)
    assert sign.split() == " ".join(SIGN).split()
    assert printed.strip() == "Printed on the second page."
    assert blank.strip() == ""
    assert "Wärmepumpe läuft" in letter
    assert [page.number for page in extracted.pages] == [1, 2, 3, 4]
    assert extracted.warnings == (
        "1 of 4 pages have no text; none was found in images (scans) either.",
        "Text in images was recognised (2 of them) and may have mistakes.",
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
async def test_a_picture_is_a_document(pool: ExtractionPool, tmp_path: Path, kind: str) -> None:
    extracted = await read(pool, tmp_path, scans.picture(SIGN, kind), "photo")
    assert extracted.content_type == f"image/{kind.lower()}"
    assert extracted.text.split() == " ".join(SIGN).split()


async def test_what_is_beyond_the_budget_is_named(pool: ExtractionPool, tmp_path: Path) -> None:
    pages = [[f"The {name} valve is closed."] for name in ("red", "green", "blue", "white", "black")]
    extracted = await read(pool, tmp_path, scans.scanned_pdf(*pages), "book.pdf")
    assert [bool(text.strip()) for text in page_texts(extracted)] == [True, True, True, False, False]
    assert "2 scanned pages or images were not read: recognising them takes too long." in extracted.warnings


async def test_the_files_of_an_archive_share_one_budget(pool: ExtractionPool, tmp_path: Path) -> None:
    data = zipped({f"{number}.png": scans.picture([f"Sign number {number}"]) for number in range(1, 6)})
    extracted = await read(pool, tmp_path, data, "signs.zip")
    assert "Sign number 3" in extracted.text
    assert "Sign number 4" not in extracted.text
    assert "2 scanned pages or images were not read: recognising them takes too long." in extracted.warnings


def test_time_ends_recognition_before_it_ends_the_document(tmp_path: Path) -> None:
    path = tmp_path / "book.pdf"
    path.write_bytes(scans.scanned_pdf(SIGN, "Printed."))
    limits = replace(make_limits(), ocr=OcrLimits("eng", pages_max=9, seconds_max=0.0))
    extracted = extract(path, filename="book.pdf", declared=None, limits=limits)
    assert "Printed." in extracted.text
    assert "1 scanned pages or images were not read: recognising them takes too long." in extracted.warnings


async def test_a_picture_without_text_is_empty_and_says_what_helps(pool: ExtractionPool, tmp_path: Path) -> None:
    with pytest.raises(DocumentRejected, match="scan it anew") as refused:
        await read(pool, tmp_path, scans.picture([]), "white.png")
    assert refused.value.code == "empty"


async def test_hostile_pictures_end_as_documents_do(pool: ExtractionPool, tmp_path: Path) -> None:
    with pytest.raises(DocumentRejected) as bomb:
        await read(pool, tmp_path, containers.png(40_000, 40_000), "bomb.png")
    assert bomb.value.code in ("resource_limit", "corrupt")
    with pytest.raises(DocumentRejected) as half:
        await read(pool, tmp_path, scans.picture(SIGN)[:3_000], "half.png")
    assert half.value.code == "corrupt"
    assert "crimson" in (await read(pool, tmp_path, scans.picture(SIGN), "sign.png")).text


def test_languages_that_are_not_installed_are_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"S4_OCR_LANGUAGES is `eng\+tlh`, but tlh\.traineddata cannot be found"):
        make_pool(ocr_languages="eng+tlh")
    (tmp_path / "tlh.traineddata").touch()
    make_pool(ocr_languages="tlh", ocr_data_dir=tmp_path)
