"""Mail: headers, body and attachments, well-formed or not."""

from functools import partial
from pathlib import Path

import pytest

from tests.factories.extracted import outline, read_bytes
from tests.factories.formats import mails, pdfs, texts

GARBLED = ("Grüße aus Köln. " * 20).encode() + b"\xff\n"
WORDS = b"The pump draws water from the lower basin."


@pytest.fixture
def read(tmp_path: Path):
    return partial(read_bytes, tmp_path)


def test_attachments_follow_the_body_and_pictures_inside_it_are_no_attachments(read) -> None:
    extracted = read(mails.with_attachments().as_bytes(), "planning.eml")

    assert outline(extracted) == [
        (1, "invite.ics"),
        (1, "policy.docx"),
        (2, "Travel policy"),
        (3, "Hotels & flights"),
        (2, "Approval"),
        (1, "Re: the tangerine offer.eml"),
    ]
    body = extracted.text.partition("# invite.ics")[0]
    assert "Attachments: invite.ics, policy.docx, scan.png, Re: the tangerine offer.eml\n\nDear all," in body
    assert body.count("Dear all") == 1, "one form of the body"
    for sentence in ("The crimson meeting", "Mauve receipts", "We accept the tangerine offer."):
        assert sentence in extracted.text
    assert extracted.title == "Quarterly planning"
    assert extracted.warnings == ("scan.png: The file is an image, and text in images is not read.",)


def test_a_mail_whose_attachments_cannot_be_read_is_read(read) -> None:
    mail = mails.letter()
    mail.add_attachment(pdfs.damaged(), "application", "pdf", filename="a.pdf")

    extracted = read(mail.as_bytes())

    assert "The periwinkle agenda" in extracted.text
    assert "a.pdf: The file is damaged" in extracted.warnings[0]


def test_a_part_of_the_body_after_an_attachment_belongs_to_the_body(read) -> None:
    mail = mails.letter()
    mail.add_attachment(WORDS, "text", "plain", filename="a.txt")
    mail.attach(_inline("Sent from a list; leave it at any time."))

    extracted = read(mail.as_bytes())

    assert extracted.text.index("Sent from a list") < extracted.text.index("# a.txt")
    assert outline(extracted) == [(1, "a.txt")]


def _inline(text: str):
    part = mails.letter()
    for name in list(part):
        del part[name]
    part.set_content(text)
    return part


def test_what_of_the_body_was_not_understood_is_said_before_what_of_the_attachments_was_not_read(read) -> None:
    mail = mails.letter()
    mail.set_content(f"<html><body>{'<b>' * 600}nestedword{'</b>' * 600}</body></html>", subtype="html")
    mail.add_attachment(pdfs.damaged(), "application", "pdf", filename="a.pdf")

    extracted = read(mail.as_bytes())

    assert "nestedword" in extracted.text
    assert [("nested too deep" in said, "a.pdf" in said) for said in extracted.warnings] == [
        (True, False),
        (False, True),
    ]


def test_letters_of_the_body_that_cannot_be_read_are_told(read) -> None:
    mail = mails.letter()
    mail.set_content(GARBLED, "text", "plain", cte="base64")
    mail.replace_header("Content-Type", 'text/plain; charset="utf-8"')

    alone = read(GARBLED, "a.txt")

    assert alone.warnings
    assert read(mail.as_bytes()).warnings == alone.warnings


@pytest.mark.parametrize("charset", ["iso-2022-jp", "shift_jis", "utf-8"])
def test_a_body_is_read_in_its_charset(read, charset: str) -> None:
    mail = mails.letter()
    mail.set_content(texts.JAPANESE, charset=charset, cte="base64")

    assert texts.JAPANESE in read(mail.as_bytes()).text


def test_headers_in_a_code_page_are_readable(read) -> None:
    mail = "From: Jörg <j@example.com>\nSubject: Größe\nDate: Mon, 02 Mar 2026 09:00:00 +0000\n\nGrüße\n"

    extracted = read(mail.encode("cp1252"), "a.eml")

    assert extracted.title == "Größe"
    assert "From: Jörg" in extracted.text
    assert "Grüße" in extracted.text


@pytest.mark.parametrize(
    "part",
    [
        "Content-Type: message/rfc822\n\n\xff: garbage",
        "Content-Type: multipart/mixed\n\nno boundary",
        'Content-Type: application/pdf; name="a.pdf"\nContent-Transfer-Encoding: base64\n\n!!!!',
        "Content-Type: text/plain; charset=no-such-charset\n\nmore",
        "Content-Disposition: attachment; filename*=utf-8''%FF%FE.txt\n\nattached",
    ],
)
def test_a_malformed_part_does_not_spoil_the_mail(read, part: str) -> None:
    mail = (
        "From: a@b.c\nSubject: x\nDate: Mon, 02 Mar 2026 09:00:00 +0000\nContent-Type: multipart/mixed; boundary=B\n\n"
        f"--B\nContent-Type: text/plain\n\nThe body.\n--B\n{part}\n--B--\n"
    )

    assert "The body." in read(mail.encode("latin-1"), "a.eml").text
