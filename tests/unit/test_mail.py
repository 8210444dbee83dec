"""Mail to tenants' contacts, by a real SMTP server that can be told to refuse."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from pydantic import ValidationError

from s4.domains.announcements.model import Impact, IncidentState, Mode, WindowPlan
from s4.domains.announcements.schemas import ContactIO
from s4.domains.announcements.smtp import Mail, MailServer
from s4.kernel.context import AdminContext
from s4.kernel.errors import InvalidRequest, Unavailable
from s4.kernel.permissions import AdminRole
from s4.kernel.settings import Settings
from tests.factories.house import House, Tenant, open_house
from tests.factories.process import OWNER

AUDITOR = AdminContext("ines", AdminRole.AUDITOR)
HOUR = timedelta(hours=1)


class Postbox:
    """What aiosmtpd asks. `answers` come first, one for each mail; then everything is taken."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.asked = 0
        self.mails: list[tuple[list[str], EmailMessage]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 (aiosmtpd's name)
        self.asked += 1
        if self.answers:
            return self.answers.pop(0)
        message = message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.mails.append((envelope.rcpt_tos, message))
        return "250 taken"


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def smtp_url(postbox: Postbox) -> Iterator[str]:
    """The address of a running mail server."""

    class AnyPort(Controller):
        def _trigger_server(self) -> None:
            """The base class connects to the port that it was told, which is 0 here."""
            server: Any = self.server
            self.port = server.sockets[0].getsockname()[1]
            super()._trigger_server()  # type: ignore[no-untyped-call]

    controller = AnyPort(postbox, hostname="127.0.0.1", port=0)
    controller.start()
    yield f"smtp://127.0.0.1:{controller.port}"
    controller.stop()


async def with_contacts(house: House, *contacts: tuple[str, tuple[str, ...]]) -> Tenant:
    tenant = await house.tenant()
    await house.core.contacts.set(OWNER, tenant.context.tenant_id, contacts)
    return tenant


def plan(**options: Any) -> WindowPlan:
    starts_at = datetime.now(UTC) + 48 * HOUR
    return WindowPlan(starts_at=starts_at, ends_at=starts_at + HOUR, mode=Mode.READ_ONLY, **options)


async def work_until(house: House, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await house.work()
            await asyncio.sleep(0.05)


def smtp(url: str) -> dict[str, Any]:
    return {"smtp_url": url, "smtp_from": "S4 <s4@example.com>"}


async def test_a_window_and_an_incident_are_mailed_once_to_who_wants_to_hear_of_them(
    tmp_path: Path, smtp_url: str, postbox: Postbox
) -> None:
    async with open_house(tmp_path, **smtp(smtp_url)) as house:
        await with_contacts(house, ("ada@example.com", ("maintenance",)), ("bob@example.com", ("incidents",)))
        await house.tenant("without contacts")
        await house.core.notices.schedule(OWNER, plan(message="New disks"))
        await house.work()
        await house.core.notices.open_incident(
            OWNER, "Slow\r\nBcc: eve@example.com", Impact.MAJOR, IncidentState.INVESTIGATING, None
        )
        await house.work()
        await house.work()
        recorded = await house.core.mailbox.newest(AUDITOR, tenant_id=None, limit=10)

    assert [recipients for recipients, _ in postbox.mails] == [["ada@example.com"], ["bob@example.com"]]
    (_, window), (_, incident) = postbox.mails
    assert window["Subject"].startswith("Maintenance on 20")
    assert "New disks" in window.get_content()
    assert "changes are refused" in window.get_content()
    assert (window["From"], window["Auto-Submitted"]) == ("S4 <s4@example.com>", "auto-generated")
    assert incident["Bcc"] is None
    assert incident["Subject"] == "Slow Bcc: eve@example.com: investigating"
    assert [(row.state, row.attempts, row.error) for row in recorded] == [("sent", 1, None)] * 2


async def test_a_server_that_is_busy_is_asked_again_until_it_takes_the_mail(
    tmp_path: Path, smtp_url: str, postbox: Postbox
) -> None:
    postbox.answers = ["451 try later", "421 too many connections"]
    async with open_house(tmp_path, **smtp(smtp_url), job_backoff_seconds=0.05) as house:
        await with_contacts(house, ("ada@example.com", ("maintenance",)))
        await house.core.notices.schedule(OWNER, plan())
        await work_until(house, lambda: bool(postbox.mails))
        await house.work()
        (row,) = await house.core.mailbox.newest(AUDITOR, tenant_id=None, limit=10)
    assert (row.state, row.attempts, row.error, postbox.asked) == ("sent", 3, None, 3)


async def test_a_server_that_refuses_for_good_is_not_asked_again(
    tmp_path: Path, smtp_url: str, postbox: Postbox
) -> None:
    postbox.answers = ["554 no such mailbox"]
    async with open_house(tmp_path, **smtp(smtp_url), job_backoff_seconds=0.05) as house:
        await with_contacts(house, ("gone@example.com", ("maintenance",)))
        await house.core.notices.schedule(OWNER, plan())
        await house.work()
        await house.work()
        (row,) = await house.core.mailbox.newest(AUDITOR, tenant_id=None, limit=10)
    assert (row.state, row.attempts, postbox.asked) == ("failed", 1, 1)
    assert row.error == "The mail server answers 554: no such mailbox"


async def test_without_a_mail_server_nothing_is_posted(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await with_contacts(house, ("ada@example.com", ("maintenance",)))
        await house.core.notices.schedule(OWNER, plan())
        await house.work()
        assert await house.core.mailbox.newest(AUDITOR, tenant_id=None, limit=10) == []


async def test_a_mail_server_that_is_not_there_is_worth_another_try() -> None:
    mail = Mail("mail_a", "ada@example.com", "x", "y")
    with pytest.raises(Unavailable):
        await MailServer("smtp://127.0.0.1:1", "s4@example.com").send(mail)


async def test_a_password_over_a_connection_that_takes_none_is_a_refusal(smtp_url: str) -> None:
    mail = Mail("mail_a", "ada@example.com", "x", "y")
    url = smtp_url.replace("smtp://", "smtp://user:secret@")
    with pytest.raises(InvalidRequest):
        await MailServer(url, "s4@example.com").send(mail)
    with pytest.raises(InvalidRequest, match="cannot do"):
        await MailServer(smtp_url.replace("smtp://", "smtp+starttls://"), "s4@example.com").send(mail)


@pytest.mark.parametrize(
    "address",
    ["a@b\nBcc: c@d", "a@b\r\n", "a@b, c@d", "Ada <a@b>", "a b@c", "a@", "@b", "a@b>", "x" * 320 + "@b", "a@b\x00"],
)
def test_an_address_that_could_say_more_than_an_address_is_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        ContactIO(email=address)


@pytest.mark.parametrize(
    "settings",
    [{"smtp_url": "http://mail"}, {"smtp_url": "smtp://"}, {"smtp_url": "mail.example.com:25"},
     {"smtp_url": "smtp://mail", "smtp_from": "s4@example.com\nBcc: x@y"}],
)  # fmt: skip
def test_settings_that_can_send_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**settings)
