"""The way to a mail server, by the standard library, in a thread.

A message is made by `email.message`, which refuses line ends in headers; the envelope's addresses are checked where
contacts are set. What the server answers decides: 5xx is a refusal for good, all else is worth another try.
"""

import asyncio
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import unquote, urlsplit

from s4.kernel.errors import InvalidRequest, Unavailable

_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_TIMEOUT_SECONDS = 20.0  # of each exchange with the server; a mail has a day
_ANSWER_CHARS_MAX = 300


@dataclass(frozen=True, slots=True)
class Mail:
    """What goes to one address. `mail_id` makes its Message-ID, so that a repeated mail can be told from another."""

    mail_id: str
    recipient: str
    subject: str
    text: str


class MailServer:
    """`url` is `smtp://`, `smtp+starttls://` or `smtps://`, with user and password if the server asks for them."""

    def __init__(self, url: str, sender: str) -> None:
        self._url = url
        self._sender = sender

    async def send(self, mail: Mail) -> None:
        """Returns once the server has taken it. Raises `Unavailable` when it is worth another try, `InvalidRequest`
        when it is not."""
        await asyncio.to_thread(self._send, self._message(mail), mail.recipient)

    def _message(self, mail: Mail) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = mail.recipient
        message["Subject"] = " ".join(mail.subject.split())  # an incident's title is one line here
        message["Date"] = formatdate(usegmt=True)
        message["Message-ID"] = f"<{mail.mail_id}@{self._sender.rpartition('@')[2].rstrip('>') or 's4'}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text)
        return message

    def _send(self, message: EmailMessage, recipient: str) -> None:
        try:
            with self._connected() as server:
                server.send_message(message, to_addrs=[recipient])
        except smtplib.SMTPRecipientsRefused as error:
            raise _refused(*error.recipients[recipient]) from error
        except smtplib.SMTPResponseException as error:
            raise _refused(error.smtp_code, error.smtp_error) from error
        except smtplib.SMTPNotSupportedError as error:
            raise InvalidRequest("The mail server cannot do what the message needs.") from error
        except (OSError, smtplib.SMTPException) as error:
            raise Unavailable("The mail server does not answer.", details={"dependency": "smtp"}) from error

    def _connected(self) -> smtplib.SMTP:
        parts = urlsplit(self._url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, port, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(host, port, timeout=_TIMEOUT_SECONDS)
        try:
            if parts.scheme == "smtp+starttls":
                server.starttls(context=ssl.create_default_context())
            if parts.username is not None:
                server.login(unquote(parts.username), unquote(parts.password or ""))
        except BaseException:
            server.close()
            raise
        return server


def _refused(code: int, answer: bytes | str) -> Exception:
    said = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    message = f"The mail server answers {code}: {said[:_ANSWER_CHARS_MAX]}"
    if code >= 500:
        return InvalidRequest(message)
    return Unavailable(message, details={"dependency": "smtp"})
