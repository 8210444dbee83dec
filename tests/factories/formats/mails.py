"""Mail as programs send it."""

from email.message import EmailMessage
from email.policy import SMTP

from tests.factories.formats import office, texts

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364f80f00010501012718e366"
    "0000000049454e44ae426082"
)
"""The smallest PNG."""


def letter(subject: str = "Quarterly planning", *, says: str = "The periwinkle agenda is attached.") -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = "Ana Müller <ana@example.com>"
    message["To"] = "board@example.com"
    message["Subject"] = subject
    message["Date"] = "Mon, 02 Mar 2026 09:00:00 +0000"
    message["Message-ID"] = "<1@example.com>"
    message.set_content(f"Dear all,\n\n{says}\n\nAna\n")
    return message


def with_attachments() -> EmailMessage:
    """A body in two forms, a picture inside it, an invitation, a document, a scan, and a forwarded mail."""
    message = letter()
    message.add_alternative("<p>Dear all, <img src='cid:logo'></p>", subtype="html")
    html = message.get_payload(1)
    html.add_related(PIXEL, "image", "png", cid="<logo>")  # type: ignore[union-attr]  # parts, as it was just made
    message.add_attachment(texts.CALENDAR.encode(), "text", "calendar", filename="invite.ics")
    message.add_attachment(office.word(), "application", "octet-stream", filename="policy.docx")
    message.add_attachment(PIXEL, "image", "png", filename="scan.png")
    message.add_attachment(letter("Re: the tangerine offer", says="We accept the tangerine offer."))
    return message
