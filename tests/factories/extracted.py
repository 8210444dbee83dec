"""What tests ask of an extracted text, its offsets checked on the way."""

from s4.engine.extraction import ExtractedText


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
