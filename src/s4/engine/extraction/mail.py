"""E-mail: who, what, when, the body, and what is attached. Kreuzberg reads it too, but runs the blocks of HTML mail
together.

A part that belongs to the body (a paragraph after a picture, a mailing list's footer) has no name and stands inline.
Pictures inside the body and signatures are left out in silence; everything else is an attachment.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage, MIMEPart
from functools import partial

from s4.engine.extraction import failures
from s4.engine.extraction.archives import MALFORMED, Member, clean_name, mail_name
from s4.engine.extraction.decode import decode_text
from s4.engine.extraction.mail_headers import BOUNDED

_SHOWN_HEADERS = ("Subject", "From", "To", "Cc", "Date")
_SIGNATURES = {"application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"}
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_PARTS_MAX = 10_000  # of one mail; beyond that somebody builds mails by program
_DEPTH_MAX = 50  # of multiparts in multiparts; honest mail has four


@dataclass(frozen=True, slots=True)
class Mail:
    """`headers` as lines; `body` as texts with True for HTML; `warnings` about their letters."""

    headers: str
    subject: str | None
    body: list[tuple[str, bool]]
    attachments: list[Member]
    warnings: tuple[str, ...]


def read_mail(data: bytes) -> Mail:
    """Raises `ValueError`."""
    try:
        message = message_from_bytes(_with_readable_headers(data), policy=BOUNDED)
        assert isinstance(message, EmailMessage)
        headers = [(name, str(message[name])) for name in _SHOWN_HEADERS if message[name]]
        body = message.get_body(preferencelist=("plain", "html"))
        bodies = [body] if body is not None else []
        attachments: list[Member] = []
        for part in _leaves(message):
            if part is body or _is_left_out(part):
                continue
            if _continues_body(part):
                bodies.append(part)
            else:
                attachments.append(_attachment(part, len(attachments) + 1))
        decoded = [_body_text(part) for part in bodies]
    except MALFORMED as error:
        raise ValueError("not a readable e-mail") from error
    if attachments:
        headers.append(("Attachments", ", ".join(member.name for member in attachments)))
    lines = "\n".join(f"{name}: {' '.join(value.split())}" for name, value in headers)
    texts = [(text, is_html) for text, is_html, _ in decoded]
    warnings = tuple(warning for _, _, warned in decoded for warning in warned)
    return Mail(lines, dict(headers).get("Subject"), texts, attachments, warnings)


def _with_readable_headers(data: bytes) -> bytes:
    """Headers may be ASCII or UTF-8; old programs write them in the code page of their machine."""
    blank = _BLANK_LINE.search(data)
    head = data[: blank.start()] if blank else data
    decoded = None if head.isascii() else decode_text(head, charset=None)
    return data if decoded is None else decoded[0].encode(errors="replace") + data[len(head) :]


def _leaves(message: MIMEPart, depth: int = 0) -> Iterator[MIMEPart]:
    """The parts that hold something; of alternatives, those that are no other form of the body."""
    if message.get_content_maintype() != "multipart" or not message.is_multipart() or depth > _DEPTH_MAX:
        yield message
        return
    alternatives = message.get_content_subtype() == "alternative"
    for part in list(message.iter_parts())[:_PARTS_MAX]:
        for leaf in _leaves(part, depth + 1):
            if not (alternatives and leaf.get_content_type() in ("text/plain", "text/html") and _is_inline(leaf)):
                yield leaf


def _is_inline(part: MIMEPart) -> bool:
    return part.get_content_disposition() != "attachment" and not part.get_filename()


def _is_left_out(part: MIMEPart) -> bool:
    kind = part.get_content_type()
    picture = part.get_content_maintype() == "image" and part.get_content_disposition() != "attachment"
    return picture or kind in _SIGNATURES


def _continues_body(part: MIMEPart) -> bool:
    return part.get_content_type() in ("text/plain", "text/html") and _is_inline(part)


def _body_text(part: MIMEPart) -> tuple[str, bool, tuple[str, ...]]:
    payload = part.get_payload(decode=True)
    decoded = decode_text(payload, charset=part.get_content_charset()) if isinstance(payload, bytes) else None
    text, warnings = decoded if decoded is not None else ("", ())
    return text, part.get_content_subtype() == "html", warnings


def _attachment(part: MIMEPart, number: int) -> Member:
    kind = part.get_content_type()
    name = part.get_filename()
    if name is None and kind == "message/rfc822" and part.is_multipart():
        name = mail_name(_content(part).getvalue())
    suffix = {"text/calendar": ".ics", "text/plain": ".txt", "text/html": ".html"}.get(kind, "")
    return Member(clean_name(name or f"attachment {number}{suffix}"), partial(_content, part), kind)


def _content(part: MIMEPart) -> io.BytesIO:
    """Raises `DocumentRejected`: one malformed mail within a mail does not spoil the other parts."""
    try:
        if part.is_multipart():  # message/rfc822 and its kin, which hold parsed mails
            return io.BytesIO(b"\n".join(inner.as_bytes() for inner in part.iter_parts()))
        payload = part.get_payload(decode=True)
    except MALFORMED as error:
        raise failures.corrupt() from error
    return io.BytesIO(payload if isinstance(payload, bytes) else b"")
