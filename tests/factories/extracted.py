"""What tests ask of an extracted text, its offsets checked on the way."""

from pathlib import Path

from s4.engine.extraction import ExtractedText
from s4.engine.extraction.readers import extract
from tests.factories.reading import make_limits


def read_bytes(
    folder: Path, data: bytes, name: str = "upload", *, text_chars_max: int = 100_000, **archives: int
) -> ExtractedText:
    """Reads a file in this process, without a child. `archives`: of the settings `extraction_archive_…`."""
    path = folder / "content"
    path.write_bytes(data)
    changes = {f"archive_{each}": value for each, value in archives.items()}
    limits = make_limits(text_chars_max=text_chars_max, pages_max=20, **changes)
    extracted = extract(path, filename=name, declared=None, limits=limits)
    assert ExtractedText.from_json_bytes(extracted.to_json_bytes()) == extracted
    return extracted


def outline(extracted: ExtractedText) -> list[tuple[int, str]]:
    """Levels and titles of the headings, each of which begins its line."""
    for heading in extracted.headings:
        line = extracted.text[heading.char_start :].partition("\n")[0]
        assert line.lstrip("# ").startswith(heading.title)
        assert heading.char_start == 0 or extracted.text[heading.char_start - 1] == "\n"
    return [(heading.level, heading.title) for heading in extracted.headings]


def page_texts(extracted: ExtractedText) -> list[str]:
    """What stands on each page; together, the text."""
    pages = [extracted.text[page.char_start : page.char_end] for page in extracted.pages]
    assert not pages or "".join(pages) == extracted.text
    return [page.strip() for page in pages]
