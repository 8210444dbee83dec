"""Mail to tenants' contacts: rows and jobs, written in the transaction of what they tell of.

Each mail is a row (`mails`) that says what became of it, and a job that is repeated with backoff for a day
(`S4_JOB_PATIENCE_HOURS`) while the server does not take it. A worker that dies between sending and noting sends again,
with the same Message-ID.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from s4.domains import audit
from s4.domains.announcements import queries
from s4.domains.announcements.jobs import MAIL, send
from s4.domains.announcements.smtp import Mail, MailServer
from s4.kernel.context import AdminContext
from s4.kernel.errors import InvalidRequest, S4Error
from s4.kernel.ids import RandomBytes, TenantId, base32
from s4.kernel.permissions import Permission
from s4.platform.chains import Record, Records
from s4.platform.database import Connection, Database
from s4.platform.jobs import ClaimedJob, JobHandler, JobRun, Queue

ROLES: Mapping[str, str] = {"maintenance": "maintenance windows", "incidents": "incidents", "account": "the account"}
"""What a contact wants to hear of."""

Contact = tuple[str, tuple[str, ...]]
"""An address and its roles."""

TEMPLATES: Mapping[str, tuple[str, str, str]] = {
    "window_scheduled": (
        "maintenance",
        "Maintenance on {starts_at}",
        "Maintenance is planned from {starts_at} to {ends_at}.\n\n{effect}\n\n{message}\n",
    ),
    "window_upcoming": (
        "maintenance",
        "Reminder: maintenance on {starts_at}",
        "Maintenance begins soon: from {starts_at} to {ends_at}.\n\n{effect}\n\n{message}\n",
    ),
    "window_started": (
        "maintenance",
        "Maintenance has begun",
        "Maintenance runs until {ends_at}.\n\n{effect}\n\n{message}\n",
    ),
    "window_ended": ("maintenance", "Maintenance is over", "Maintenance ended at {ends_at}. Everything works again.\n"),
    "incident": ("incidents", "{title}: {state}", "{message}\n\nState: {state}. Impact: {impact}. As of {at}.\n"),
    "tenant_suspended": ("account", "Your account was suspended", "The account {name} was suspended.\n\n{message}\n"),
}
"""Role, subject, text. `{names}` are filled in by whoever posts."""


class Contacts:
    """Whom to write to, by tenant: records `contacts-{tenant}`."""

    def __init__(self, database: Database, records: Records) -> None:
        self._database = database
        self._records = records

    async def get(self, context: AdminContext, tenant_id: TenantId) -> list[Contact]:
        context.require(Permission.ADMIN_READ)
        async with self._database.read() as connection:
            return await self.of(connection, tenant_id)

    async def set(self, context: AdminContext, tenant_id: TenantId, contacts: Sequence[Contact]) -> Sequence[Contact]:
        """The whole list anew. Raises `InvalidRequest` for a tenant that does not exist."""
        context.require(Permission.ADMIN_WRITE)

        async def decide(connection: Connection, _n: datetime, _r: Record | None) -> Mapping[str, Any]:
            if await queries.unknown(connection, [tenant_id]):
                raise InvalidRequest("There is no such tenant.", details={"tenant_id": tenant_id})
            return {"contacts": [{"email": email, "roles": list(roles)} for email, roles in contacts]}

        async def noted(connection: Connection, before: Record | None, after: Record | None) -> None:
            await audit.record(
                connection,
                context.actor,
                "tenant.contacts",
                f"tenant/{tenant_id}",
                tenant_id=tenant_id,
                before=before.body if before is not None else None,
                after=after.body if after is not None else None,
            )

        await self._records.change(_name(tenant_id), decide, noted=noted, tenant_id=tenant_id)
        return contacts

    async def of(self, connection: Connection, tenant_id: str) -> list[Contact]:
        record = await self._records.get(connection, _name(tenant_id))
        said = record.body["contacts"] if record is not None else []
        return [(each["email"], tuple(each["roles"])) for each in said]


class Mailbox:
    """Posts and sends. Without a server nothing is posted."""

    def __init__(
        self, database: Database, queue: Queue, contacts: Contacts, random: RandomBytes, server: MailServer | None
    ) -> None:
        self._database = database
        self._queue = queue
        self._contacts = contacts
        self._random = random
        self._server = server

    async def post(self, connection: Connection, tenant_id: str, template: str, values: Mapping[str, str]) -> int:
        """Part of the caller's transaction: a mail to each contact of the template's role. Answers with their
        number."""
        if self._server is None:
            return 0
        role, subject, text = TEMPLATES[template]
        wanted = [email for email, roles in await self._contacts.of(connection, tenant_id) if role in roles]
        now = await self._database.now(connection)
        for recipient in wanted:
            mail_id = "mail_" + base32(self._random(16))
            row = {
                "mail_id": mail_id, "tenant_id": tenant_id, "recipient": recipient, "template": template,
                "subject": subject.format_map(values), "text": text.format_map(values), "created_at": now,
            }  # fmt: skip
            await queries.add_mail(connection, row)
            await self._queue.enqueue(connection, send(tenant_id, mail_id))
        return len(wanted)

    async def newest(self, context: AdminContext, *, tenant_id: str | None, limit: int) -> list[Any]:
        """What was posted, and what became of it."""
        context.require(Permission.ADMIN_READ)
        async with self._database.read() as connection:
            return await queries.newest_mails(connection, tenant_id=tenant_id, limit=limit)

    def handlers(self) -> dict[str, JobHandler]:
        return {MAIL: JobHandler(self._send, on_failed=self._give_up)}

    async def _send(self, run: JobRun) -> bool:
        mail_id = run.job.subject
        async with self._database.read() as connection:
            row = await queries.waiting_mail(connection, mail_id)
        if row is None:
            return False
        if self._server is None:
            raise InvalidRequest("No mail server is configured any more (S4_SMTP_URL).")
        try:
            await self._server.send(Mail(mail_id, row.recipient, row.subject, row.text))
        except S4Error as error:
            said = error.message
            await self._database.transact(lambda c: queries.note_attempt(c, mail_id, error=said))
            raise

        async def finish(connection: Connection) -> None:
            now = await self._database.now(connection)
            await queries.note_attempt(connection, mail_id, error=None)
            await queries.end_mail(connection, mail_id, state="sent", error=None, at=now)
            await run.finish(connection)

        await self._database.transact(finish)
        return True

    async def _give_up(self, connection: Connection, job: ClaimedJob, error: S4Error) -> None:
        now = await self._database.now(connection)
        await queries.end_mail(connection, job.subject, state="failed", error=error.message, at=now)


def _name(tenant_id: str) -> str:
    return f"contacts-{tenant_id}"
