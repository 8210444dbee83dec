"""E-mail: who, what, when, and the body. Kreuzberg reads it too, but runs the blocks of HTML mail together.

Attachments are named, not opened: a tenant uploads them as documents of their own.
"""

from email import message_from_bytes
from email.message import EmailMessage, MIMEPart

from s4.engine.extraction.mail_headers import BOUNDED

_SHOWN_HEADERS = ("Subject", "From", "To", "Cc", "Date")


def read_mail(data: bytes) -> tuple[str, str, str | None, bool]:
    """The headers as lines, the body, the subject, and whether the body is HTML. Raises `ValueError`."""
    try:
        message = message_from_bytes(data, policy=BOUNDED)
        assert isinstance(message, EmailMessage)
        body = message.get_body(preferencelist=("plain", "html"))
        content = _content(body) if body is not None else ""
        names = [part.get_filename() or "" for part in message.iter_attachments()]
        headers = [(name, str(message[name])) for name in _SHOWN_HEADERS if message[name]]
    except (AttributeError, TypeError, LookupError) as error:  # how the parser fails on malformed headers
        raise ValueError("not a readable e-mail") from error
    if any(names):
        headers.append(("Attachments", ", ".join(filter(None, names))))
    lines = "\n".join(f"{name}: {' '.join(value.split())}" for name, value in headers)
    subject = dict(headers).get("Subject")
    return lines, content, subject, body is not None and body.get_content_subtype() == "html"


def _content(body: MIMEPart) -> str:
    try:
        return str(body.get_content())
    except (LookupError, UnicodeError):  # a charset that nobody knows
        payload = body.get_payload(decode=True)
        return payload.decode("utf-8", errors="replace") if isinstance(payload, bytes) else ""
