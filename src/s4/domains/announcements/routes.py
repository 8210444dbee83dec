"""Notices: what the operator says, and what everybody may read."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import Query, Request, Response

from s4.domains.announcements.board import REFRESH, Board
from s4.domains.announcements.mail import Contact, Contacts, Mailbox
from s4.domains.announcements.schemas import (
    ContactList,
    IncidentIn,
    IncidentList,
    IncidentOut,
    IncidentUpdateIn,
    MailList,
    MailOut,
    StatusOut,
    WindowIn,
    WindowList,
    WindowOut,
)
from s4.domains.announcements.service import NoticeService
from s4.kernel.context import TenantContext
from s4.kernel.errors import Unavailable
from s4.kernel.ids import parse_tenant_id
from s4.kernel.pages import PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX
from s4.kernel.permissions import Permission
from s4.platform.http.errors import error_responses
from s4.platform.http.exchange import exchange_of
from s4.platform.http.routing import Admission, CurrentAdmin, DomainRouter


def notices_router(notices: NoticeService) -> DomainRouter:
    """Windows and incidents, for administrators."""
    router = DomainRouter(prefix="/admin", tags=["notices"])
    read, write = Permission.ADMIN_READ, Permission.ADMIN_WRITE

    @router.get("/maintenance-windows", permission=read, response_model=WindowList)
    async def list_maintenance_windows(
        admin: CurrentAdmin,
        past: Annotated[
            Literal["true", "false"], Query(description="Also those that are over or cancelled.")
        ] = "false",
    ) -> WindowList:
        """By their start."""
        found = await notices.windows(admin, past=past == "true")
        return WindowList(windows=[WindowOut.of(window, state) for window, state in found])

    @router.post("/maintenance-windows", permission=write, status_code=201, response_model=WindowOut)
    async def schedule_maintenance_window(admin: CurrentAdmin, request: WindowIn) -> WindowOut:
        """Tells the tenants concerned, now and again when its lead time begins. It begins and ends by itself."""
        return WindowOut.of(*await notices.schedule(admin, request.plan()))

    @router.put(
        "/maintenance-windows/{window_id}", permission=write, response_model=WindowOut, responses=error_responses(409)
    )
    async def replace_maintenance_window(admin: CurrentAdmin, window_id: str, request: WindowIn) -> WindowOut:
        """Another time, mode or message for a window that is not over. The tenants concerned are told anew."""
        return WindowOut.of(*await notices.replace(admin, window_id, request.plan()))

    @router.delete(
        "/maintenance-windows/{window_id}", permission=write, response_model=WindowOut, responses=error_responses(409)
    )
    async def end_maintenance_window(admin: CurrentAdmin, window_id: str) -> WindowOut:
        """Cancels a window that has not begun; one that runs ends now."""
        return WindowOut.of(*await notices.end(admin, window_id))

    @router.get("/incidents", permission=read, response_model=IncidentList)
    async def list_incidents(admin: CurrentAdmin) -> IncidentList:
        """Newest first."""
        return IncidentList(incidents=[IncidentOut.of(each) for each in await notices.incidents(admin)])

    @router.post("/incidents", permission=write, status_code=201, response_model=IncidentOut)
    async def open_incident(admin: CurrentAdmin, request: IncidentIn) -> IncidentOut:
        """Stands on the public status page within seconds."""
        opened = await notices.open_incident(admin, request.title, request.impact, request.state, request.message)
        return IncidentOut.of(opened)

    @router.post("/incidents/{incident_id}/updates", permission=write, status_code=201, response_model=IncidentOut)
    async def update_incident(admin: CurrentAdmin, incident_id: str, request: IncidentUpdateIn) -> IncidentOut:
        """How it stands now. A resolved incident stays on the status page for a day."""
        return IncidentOut.of(await notices.update_incident(admin, incident_id, request.state, request.message))

    return router


def mail_router(contacts: Contacts, mailbox: Mailbox) -> DomainRouter:
    """Whom mail goes to, and what became of it."""
    router = DomainRouter(prefix="/admin", tags=["notices"])

    @router.get("/tenants/{tenant_id}/contacts", permission=Permission.ADMIN_READ, response_model=ContactList)
    async def get_contacts(admin: CurrentAdmin, tenant_id: str) -> ContactList:
        """Whom the tenant wants to be written to. None as long as nobody said."""
        return _contacts(await contacts.get(admin, parse_tenant_id(tenant_id)))

    @router.put("/tenants/{tenant_id}/contacts", permission=Permission.ADMIN_WRITE, response_model=ContactList)
    async def set_contacts(admin: CurrentAdmin, tenant_id: str, request: ContactList) -> ContactList:
        """The whole list anew. Mail is sent where a server is configured (`S4_SMTP_URL`)."""
        wanted = [(each.email, tuple(dict.fromkeys(each.roles))) for each in request.contacts]
        return _contacts(await contacts.set(admin, parse_tenant_id(tenant_id), wanted))

    @router.get("/mails", permission=Permission.ADMIN_READ, response_model=MailList)
    async def list_mails(
        admin: CurrentAdmin,
        tenant_id: Annotated[str | None, Query(max_length=40)] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT,
    ) -> MailList:
        """What was posted, newest first, and whether the mail server took it."""
        rows = await mailbox.newest(admin, tenant_id=tenant_id, limit=limit)
        return MailList(mails=[MailOut.model_validate(row, from_attributes=True) for row in rows])

    return router


def _contacts(found: Sequence[Contact]) -> ContactList:
    return ContactList.model_validate({"contacts": [{"email": email, "roles": roles} for email, roles in found]})


def maintenance_admission(board: Board) -> Admission:
    """One of `app.state.s4_admissions`."""

    async def admit(context: TenantContext, request: Request) -> None:
        exchange = exchange_of(request)
        try:
            board.admit(context, request.state.s4_permission, exchange.response_headers)
        except Unavailable:
            exchange.excused = True
            raise

    return admit


def status_router(board: Board) -> DomainRouter:
    """`/status`, for everybody."""
    router = DomainRouter(tags=["operations"])

    @router.get("/status", permission=Permission.PUBLIC, response_model=StatusOut)
    async def public_status(response: Response) -> StatusOut:
        """The state of the service, maintenance windows that concern everybody, incidents. Asks no dependency."""
        response.headers["Cache-Control"] = f"public, max-age={int(REFRESH.total_seconds())}"
        return StatusOut.model_validate(board.status())

    return router
