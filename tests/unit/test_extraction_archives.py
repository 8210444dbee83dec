"""Archives and attachments: each member a part of the document, within limits, and nothing but text gets out."""

import io
import mailbox
import zipfile
from functools import partial
from pathlib import Path

import pytest

from s4.engine.chunking import chunk
from s4.engine.chunking.outline import Outline
from s4.kernel.errors import DocumentRejected
from s4.kernel.units import KIB, MIB
from tests.factories import files
from tests.factories.extracted import outline, read_bytes
from tests.factories.formats import archives, mails, office, pdfs
from tests.factories.reading import make_limits

WORDS = b"The pump draws water from the lower basin."
DEFAULTS = make_limits().archives


@pytest.fixture
def read(tmp_path: Path):
    return partial(read_bytes, tmp_path)


@pytest.fixture
def refused(read):
    def _refused(data: bytes, **options: int) -> DocumentRejected:
        with pytest.raises(DocumentRejected) as caught:
            read(data, **options)
        assert caught.value.message.endswith(".")
        return caught.value

    return _refused


# -- what becomes of members


def test_members_stand_under_their_names_with_their_own_headings_one_level_down(read) -> None:
    extracted = read(
        files.zipped(
            {
                "reports/one.md": "# Über uns\n\nWir.\n\n## Später\n\nMehr.".encode(),
                "two.docx": office.word(),
                "three.pdf": pdfs.manual(),
            }
        )
    )

    assert outline(extracted) == [
        (1, "reports/one.md"),
        (2, "Über uns"),
        (3, "Später"),
        (1, "two.docx"),
        (2, "Travel policy"),
        (3, "Hotels & flights"),
        (2, "Approval"),
        (1, "three.pdf"),
        (2, "Service manual"),
        (2, "Safety"),
        (3, "Electrical safety"),
        (2, "Maintenance"),
        (2, "Repair"),
    ]
    assert extracted.text.startswith("# reports/one.md\n\n# Über uns\n\nWir.")
    assert extracted.pages == ()
    assert extracted.title is None
    assert extracted.warnings == ()


def test_a_passage_of_a_member_names_the_member(read) -> None:
    guide = b"# Pump\n\n" + b"It draws water from below. " * 20
    extracted = read(files.zipped({"a/guide.md": guide, "b.txt": b"Something else. " * 20}))

    passages = chunk(
        extracted,
        token_offsets=lambda text: [(at, at + 1) for at in range(len(text))],
        tokens_max=200,
        overlap_tokens=20,
        chunks_max=20,
    )

    of_guide = [passage.heading for passage in passages if "draws water" in passage.text]
    of_note = [passage.heading for passage in passages if "Something else" in passage.text]
    assert of_guide[0] == "a/guide.md"
    assert set(of_guide[1:]) == {"a/guide.md > Pump"}
    assert set(of_note) == {"b.txt"}
    assert len(of_guide) + len(of_note) == len(passages), "no passage spans two members"


def test_a_passage_under_six_headings_in_a_mail_in_an_archive_still_names_the_archives_member(read) -> None:
    mail = mails.letter()
    book = "".join(f"{'#' * level} Level {level}\n\n" for level in range(1, 7)) + "The deepest words. " * 10
    mail.add_attachment(book.encode(), "text", "markdown", filename="book.md")

    outermost = Outline(read(files.zipped({"outer.eml": mail.as_bytes()})))

    path = [title for _, title in outermost.path_at(10**6)]
    assert path == ["outer.eml", "book.md", *(f"Level {level}" for level in range(1, 7))]


def test_a_member_that_cannot_be_read_is_named_and_the_others_are_read(read) -> None:
    extracted = read(
        files.zipped(
            {
                "good.txt": WORDS,
                "scan.png": mails.PIXEL,
                "damaged.pdf": pdfs.damaged(),
                "locked.pdf": pdfs.encrypted(opening_password="secret"),
                "inner.rar": b"Rar!\x1a\x07\x00" + bytes(64),
                "scan.pdf": pdfs.scan(),
            }
        )
    )

    assert outline(extracted) == [(1, "good.txt")]
    assert [warning.partition(": ")[0] for warning in extracted.warnings] == [
        "scan.png",
        "damaged.pdf",
        "locked.pdf",
        "inner.rar",
        "scan.pdf",
    ]
    for warning, reason in zip(
        extracted.warnings, ("image", "damaged", "password", "RAR archives are not opened", "scans"), strict=True
    ):
        assert reason in warning
        assert warning.endswith(".")


def test_warnings_of_a_member_name_it(read) -> None:
    extracted = read(files.zipped({"half.pdf": files.pdf([["text"], []])}))

    assert extracted.warnings == ("half.pdf: 1 of 2 pages have no text; text in images (scans) is not read.",)


def test_a_long_list_of_warnings_is_cut_and_counted(read) -> None:
    pictures = {f"{number}.png": mails.PIXEL for number in range(70)}

    extracted = read(files.zipped({"good.txt": WORDS, **pictures}))

    assert len(extracted.warnings) == 51
    assert extracted.warnings[-1] == "And 20 more."


@pytest.mark.parametrize(
    ("members", "code", "reason"),
    [
        ({"a.png": mails.PIXEL, "b.png": mails.PIXEL}, "unsupported_format", "a.png: The file is an image"),
        ({"a.pdf": pdfs.damaged()}, "corrupt", "a.pdf: The file is damaged"),
        ({"a.pdf": pdfs.scan()}, "empty", "a.pdf: No text was found"),
        ({"a.png": mails.PIXEL, "a.pdf": pdfs.damaged()}, "unsupported_format", "a.pdf: The file is damaged"),
        ({}, "empty", "There is no file in the archive"),
        ({"__MACOSX/._a.txt": WORDS, ".DS_Store": WORDS, "folder/": b""}, "empty", "There is no file in the archive"),
    ],
)
def test_an_archive_of_which_nothing_can_be_read_fails_and_says_why(refused, members, code, reason) -> None:
    error = refused(files.zipped(members))

    assert error.code == code
    assert reason in error.message


def test_an_archive_full_of_pictures_fails_with_a_few_sentences(refused) -> None:
    error = refused(files.zipped({f"{number}.png": mails.PIXEL for number in range(70)}))

    assert error.message.endswith("And 67 more.")
    assert len(error.message) < 500


def test_what_operating_systems_leave_behind_is_skipped_in_silence(read) -> None:
    litter = {"__MACOSX/._a.txt": WORDS, "a/.DS_Store": b"\x00\x01", "a/Thumbs.db": b"\x00\x01", "desktop.ini": WORDS}

    extracted = read(files.zipped({**litter, "a/": b"", "a/empty.py": b"", "a/b.txt": WORDS}))

    assert outline(extracted) == [(1, "a/b.txt")]
    assert extracted.warnings == ()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.txt", "etc/passwd.txt"),
        ("/root/a.txt", "root/a.txt"),
        ("C:\\Users\\a.txt", "C:/Users/a.txt"),
        ("a\nb\x1b[31m\u202egpj.txt", "ab[31mgpj.txt"),
        ("\u2066\u200b", "unnamed"),
        ("x" * 4096 + "/end.txt", "…" + "x" * 191 + "/end.txt"),
    ],
)
def test_a_members_name_is_shown_without_what_could_mislead(read, name: str, shown: str) -> None:
    extracted = read(archives.tarred({name: WORDS}))

    assert outline(extracted) == [(1, shown)]


@pytest.mark.parametrize(
    ("name", "charset"),
    [("会議の資料について.txt", "shift_jis"), ("Отчёт за март.txt", "cp866"), ("Prüfung.txt", "cp437")],
)
def test_names_in_the_code_page_of_the_machine_that_packed_are_readable(read, name: str, charset: str) -> None:
    stand_in = "".join(chr(0x61 + at % 26) for at in range(len(name.encode(charset))))
    data = files.zipped({stand_in: WORDS}).replace(stand_in.encode(), name.encode(charset))

    assert outline(read(data)) == [(1, name)]


# -- kinds of archives


def test_links_devices_and_folders_of_a_tar_are_skipped(read, tmp_path: Path) -> None:
    special = (
        archives.link("passwords.txt", "/etc/passwd"),
        archives.link("again.txt", "good.txt", hard=True),
        archives.device("null.txt"),
        archives.folder("folder"),
    )

    extracted = read(archives.tarred({"../good.txt": WORDS}, special=special))

    assert outline(extracted) == [(1, "good.txt")]
    assert extracted.warnings == ()
    assert "root:" not in extracted.text
    assert [path.name for path in tmp_path.rglob("*")] == ["content"], "nothing is written where a member says"


@pytest.mark.parametrize("suffix", archives.PACKERS)
def test_a_packed_file_is_that_file_with_its_pages(read, suffix: str) -> None:
    extracted = read(archives.PACKERS[suffix](pdfs.manual()), f"manual.pdf.{suffix}")

    assert len(extracted.pages) == 3
    assert outline(extracted)[0] == (1, "Service manual")
    assert extracted.title == "Manual of the FH-800"


def test_a_packed_markdown_is_known_by_the_name_inside(read) -> None:
    assert outline(read(archives.PACKERS["gz"](b"# Title\n\ntext"), "readme.md.gz")) == [(1, "Title")]


def test_a_mailbox_is_an_archive_of_mails(read, tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "box")
    for subject in ("First question", "Second answer"):
        box.add(mails.letter(subject, says=f"About the {subject.lower()}.").as_bytes())
    box.flush()

    extracted = read((tmp_path / "box").read_bytes(), "archive")

    assert extracted.content_type == "application/mbox"
    assert outline(extracted) == [(1, "1 First question.eml"), (1, "2 Second answer.eml")]
    assert "About the second answer." in extracted.text


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(99), "7z"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(99), "RAR"),
        (b"\x28\xb5\x2f\xfd\x24\x00" + bytes(99), "Zstandard"),
    ],
)
def test_archives_that_are_not_opened_say_how_to_pack_anew(refused, data: bytes, kind: str) -> None:
    error = refused(data)

    assert error.code == "unsupported_format"
    assert error.message == f"{kind} archives are not opened. Pack the files as a ZIP and upload that."


def test_a_locked_member_is_named_and_an_archive_of_locked_members_is_encrypted(read, refused) -> None:
    mixed = locked(files.zipped({"a.txt": WORDS, "b.txt": WORDS}), count=1)

    extracted = read(mixed)

    assert outline(extracted) == [(1, "b.txt")]
    assert extracted.warnings == ("a.txt: The file is protected by a password.",)
    assert refused(locked(mixed, count=2)).code == "encrypted"


def locked(data: bytes, *, count: int) -> bytes:
    """With the flag of the first `count` members in their local headers and in the directory."""
    changed = bytearray(data)
    local = directory = 0
    for _ in range(count):
        local = changed.index(b"PK\x03\x04", local) + 4
        directory = changed.index(b"PK\x01\x02", directory) + 4
        changed[local + 2] |= 1
        changed[directory + 4] |= 1
    return bytes(changed)


def test_a_member_packed_by_a_method_that_nobody_knows_is_named(read) -> None:
    data = bytearray(files.zipped({"a.txt": WORDS, "b.txt": WORDS}))
    data[8] = data[data.index(b"PK\x01\x02") + 10] = 99

    extracted = read(bytes(data))

    assert extracted.warnings == ("a.txt: It is packed in a way that is not read.",)


def test_a_member_whose_checksum_is_wrong_is_named(read) -> None:
    data = bytearray(files.zipped({"a.txt": WORDS, "b.txt": WORDS}))
    crc = data.index(b"PK\x01\x02") + 16
    data[crc] ^= 1

    extracted = read(bytes(data))

    assert "a.txt: The file is damaged" in extracted.warnings[0]
    assert outline(extracted) == [(1, "b.txt")]


@pytest.mark.parametrize("suffix", [None, *archives.PACKERS])
def test_a_damaged_archive_is_corrupt(refused, suffix: str | None) -> None:
    whole = archives.tarred({f"{number}.txt": bytes([65 + number % 26]) * 700 for number in range(40)})
    if suffix is None:
        damaged = bytearray(whole)
        damaged[20 * 1536 : 20 * 1536 + 512] = b"?" * 512  # a header in the middle
        assert refused(bytes(damaged)).code == "corrupt"
    else:
        packed = archives.PACKERS[suffix](whole)
        assert refused(packed[: len(packed) * 2 // 3]).code == "corrupt"


def test_a_tar_with_a_negative_size_ends(refused) -> None:
    data = bytearray(archives.tarred({"a.txt": WORDS, "b.txt": WORDS}))
    data[1024 + 124 : 1024 + 136] = b"\xff" * 12
    data[1024 + 148 : 1024 + 156] = b" " * 8
    data[1024 + 148 : 1024 + 156] = b"%06o\0 " % sum(data[1024 : 1024 + 512])

    assert refused(bytes(data)).code == "corrupt"


# -- nesting


def test_a_mail_in_a_zip_with_an_attachment_is_read_and_what_is_deeper_is_named(read) -> None:
    deeper = mails.letter("Deeper", says="It says more.")
    deeper.add_attachment(b"too deep to be read", "text", "plain", filename="deep.txt")
    outer = mails.letter("Outer")
    outer.add_attachment(deeper)
    outer.add_attachment(files.zipped({"deep.txt": WORDS}), "application", "zip", filename="deep.zip")

    extracted = read(files.zipped({"post/outer.eml": outer.as_bytes()}))

    assert outline(extracted) == [(1, "post/outer.eml"), (2, "Deeper.eml")]
    assert "It says more." in extracted.text
    assert "too deep to be read" not in extracted.text
    assert extracted.warnings == (
        "post/outer.eml: Deeper.eml: deep.txt: It is nested too deep to be opened.",
        "post/outer.eml: deep.zip: It is nested too deep to be opened.",
    )


def test_a_zip_that_holds_itself_over_and_over_ends_at_the_depth(refused) -> None:
    data = files.zipped({"end.txt": WORDS})
    for _ in range(50):
        data = files.zipped({"again.zip": data})

    error = refused(data)

    assert error.code == "resource_limit"
    assert error.message.endswith(": again.zip: It is nested too deep to be opened.")


def test_nothing_is_opened_when_the_depth_is_zero(read, refused) -> None:
    assert refused(files.zipped({"a.txt": WORDS}), depth_max=0).code == "resource_limit"
    mail = mails.letter()
    mail.add_attachment(WORDS, "text", "plain", filename="a.txt")
    extracted = read(mail.as_bytes(), depth_max=0)
    assert "The periwinkle agenda" in extracted.text
    assert extracted.warnings == ("a.txt: It is nested too deep to be opened.",)


# -- limits


def test_members_are_counted_over_nested_archives(read, refused) -> None:
    inner = files.zipped({f"{number}.txt": WORDS for number in range(4)})
    outer = files.zipped({"one.zip": inner, "two.zip": inner})

    assert len(outline(read(outer, members_max=10))) == 10
    error = refused(outer, members_max=9)
    assert error.code == "resource_limit"
    assert "more than 9 files" in error.message


@pytest.mark.parametrize("pack", [files.zipped, archives.tarred])
def test_bytes_are_counted_over_nested_archives(read, refused, pack) -> None:
    inner = pack({"a.txt": b"a " * 20 * KIB})
    outer = files.zipped({"one": inner, "two": inner})

    assert len(outline(read(outer, bytes_max=256 * KIB))) == 4
    error = refused(outer, bytes_max=70 * KIB)
    assert error.code == "resource_limit"
    assert "larger than 70.0 KiB" in error.message


def test_a_bomb_that_lies_about_its_size_is_stopped_while_it_is_unpacked(refused) -> None:
    bomb = bytearray(files.zipped({"bomb.txt": bytes(30 * MIB)}))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = bomb.index(mark) + offset
        bomb[at : at + 4] = (1000).to_bytes(4, "little")

    assert refused(bytes(bomb), bytes_max=10 * MIB).code in ("corrupt", "resource_limit")


@pytest.mark.parametrize("suffix", archives.PACKERS)
def test_what_a_tar_skips_counts_too(refused, suffix: str) -> None:
    packed = archives.PACKERS[suffix](archives.tarred({".DS_Store": bytes(8 * MIB), "a.txt": WORDS}))

    assert refused(packed, bytes_max=MIB).code == "resource_limit"


@pytest.mark.parametrize("suffix", archives.PACKERS)
def test_a_packed_bomb_is_stopped(refused, suffix: str) -> None:
    assert refused(archives.PACKERS[suffix](bytes(8 * MIB)), bytes_max=MIB).code == "resource_limit"


def test_a_member_that_is_too_large_is_named_and_the_others_are_read(read) -> None:
    extracted = read(files.zipped({"large.txt": WORDS * 100, "a.txt": WORDS}), member_bytes_max=KIB)

    assert outline(extracted) == [(1, "a.txt")]
    assert extracted.warnings == ("large.txt: Unpacked, it is larger than 1.0 KiB.",)


def test_the_text_of_all_members_together_has_a_limit(refused) -> None:
    error = refused(files.zipped({f"{number}.txt": WORDS for number in range(30)}), text_chars_max=1000)

    assert error.code == "text_too_long"


# -- what is no archive


def test_an_office_file_is_no_archive_and_an_archive_with_its_folders_is_no_office_file(read) -> None:
    parts = {name: data for name, data in _members(office.word()).items() if name.startswith("word/")}

    assert read(office.word()).content_type.endswith("wordprocessingml.document")
    assert read(files.zipped({**parts, "note.txt": WORDS})).content_type == "application/zip"


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as container:
        return {name: container.read(name) for name in container.namelist()}
