"""The part of the settings that says how files are read."""

from pathlib import Path

from pydantic import BaseModel, Field

from s4.kernel.setting_values import Size
from s4.kernel.units import GIB, MIB


class ExtractionSettings(BaseModel):
    """A part of `Settings`."""

    # -- reading files
    extraction_processes: int = Field(
        1,
        ge=1,
        description="Children that read files in the fast lane, where every file starts. Memory at worst: (this + "
        "`extraction_slow_processes`) x `extraction_memory_bytes`.",
    )
    extraction_slow_processes: int = Field(
        1,
        ge=1,
        description="Children more, for files that take longer than `extraction_fast_seconds`. More: slow files of "
        "several tenants wait less for each other; each may take `extraction_memory_bytes`.",
    )
    extraction_fast_seconds: float = Field(
        5.0,
        gt=0,
        description="How long a file may keep its place in the fast lane while others wait: it goes on in the slow "
        "lane, or begins anew there. Shorter: less waiting behind slow files, more of them read twice.",
    )
    extraction_memory_bytes: Size = Field(
        2 * GIB,
        description="Address space of a child that parses a file. Hostile files hit it, honest large PDFs stay below.",
    )
    extraction_seconds_max: float = Field(
        180.0,
        gt=0,
        description="Wall time for one file. Longer: larger files are read, and whoever waits in the slow lane waits "
        "longer.",
    )
    extraction_text_chars_max: int = Field(
        20_000_000,
        ge=1,
        le=1_000_000_000,
        description="Longest text taken from one document. The worker needs up to 50 bytes of memory per character "
        "while it cuts the worst of them.",
    )
    extraction_pages_max: int = Field(
        10_000, ge=1, description="Most pages of a PDF or slides of a presentation; counted before they are read."
    )
    extraction_unpacked_bytes_max: Size = Field(
        128 * MIB,
        description="Most that the text parts of a Word, Excel, OpenDocument or EPUB file may unpack to. Near the "
        "memory limit parsers leave out chapters without a word: keep it at a sixteenth of `extraction_memory_bytes`.",
    )
    extraction_markup_bytes_max: Size = Field(
        128 * MIB,
        description="Largest HTML, e-mail, reStructuredText or Org file. Reading takes up to nine times its size in "
        "memory: keep it at a sixteenth of `extraction_memory_bytes`.",
    )
    extraction_scratch_bytes_max: Size = Field(
        256 * MIB,
        description="Largest temporary file that a parser may write, members of archives among them. They go to the "
        "system's temporary folder, one folder per child.",
    )
    extraction_files_per_child: int = Field(
        200,
        ge=1,
        description="Files after which a child is replaced: a start costs 0.2 s, a slow leak in a parser shows within "
        "thousands of files.",
    )
    extraction_archive_depth_max: int = Field(
        2,
        ge=0,
        description="Containers within containers that are opened: a mail in a ZIP, with an attachment. What is deeper "
        "is named in the warnings. 0 opens no archive and no attachment.",
    )
    extraction_archive_members_max: int = Field(
        1000,
        ge=1,
        description="Files in an archive, those of nested archives counted. They become one document with one state; "
        "what is larger is better uploaded as files.",
    )
    extraction_archive_bytes_max: Size = Field(
        1 * GIB,
        description="Most that is unpacked from one document, counted while it is unpacked. Ends bombs; takes seconds, "
        "and the disk holds one member per level at a time.",
    )
    extraction_archive_member_bytes_max: Size = Field(
        256 * MIB,
        description="Largest member, unpacked; at most `extraction_scratch_bytes_max`. A larger one is named in the "
        "warnings.",
    )
    ocr_languages: str = Field(
        "",
        pattern=r"^([A-Za-z0-9_]+(\+[A-Za-z0-9_]+)*)?$",
        description="Languages of text in images and scanned pages, by Tesseract's names: `deu+eng`, the one with the "
        "richer letters first. Their data must be installed (`ocr_data_dir`). Empty: such text is not read. Each one "
        "more makes reading slower.",
    )
    ocr_data_dir: Path | None = Field(
        None,
        description="Directory with Tesseract's `<language>.traineddata`. Unset: where the extra `s4-store[ocr]` or "
        "Debian's packages `tesseract-ocr-…` put them.",
    )
    ocr_pages_max: int = Field(
        50,
        ge=1,
        description="Pages of one document whose text is recognised, at two or three seconds each; further ones are "
        "named in the warnings. Recognition also stops in time for `extraction_seconds_max`.",
    )
