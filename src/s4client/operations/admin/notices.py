"""Maintenance windows and incidents."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from s4client.flow import Flow, Request, operation
from s4client.models import (
    Contact,
    ContactList,
    Incident,
    IncidentList,
    MailList,
    MaintenanceWindow,
    MaintenanceWindowList,
)
from s4client.operations.common import API, ServerOperations, given, segment

MaintenanceMode = Literal["announce", "read_only"]
IncidentImpact = Literal["minor", "major", "critical"]
IncidentState = Literal["investigating", "identified", "monitoring", "resolved"]


class NoticesOperations(ServerOperations):
    """Tell tenants what is going to happen, and what is wrong."""

    @operation
    def list_maintenance_windows(self, *, past: bool = False) -> Flow[MaintenanceWindowList]:
        """By their start; those that are over only with `past`."""
        params = {"past": "true"} if past else {}
        request = Request(method="GET", path=f"{API}/admin/maintenance-windows", params=params, repeatable=True)
        return (yield from self.send(request)).parse(MaintenanceWindowList)

    @operation
    def schedule_maintenance(
        self,
        starts_at: datetime,
        ends_at: datetime,
        *,
        mode: MaintenanceMode = "announce",
        message: str = "",
        tenants: Sequence[str] | None = None,
        lead_seconds: int | None = None,
    ) -> Flow[MaintenanceWindow]:
        """A new window; the tenants concerned, None for all, are told."""
        body = _window(starts_at, ends_at, mode, message, tenants, lead_seconds)
        request = Request(method="POST", path=f"{API}/admin/maintenance-windows", json=body, repeatable=False)
        return (yield from self.send(request)).parse(MaintenanceWindow)

    @operation
    def replace_maintenance(
        self,
        window_id: str,
        starts_at: datetime,
        ends_at: datetime,
        *,
        mode: MaintenanceMode = "announce",
        message: str = "",
        tenants: Sequence[str] | None = None,
        lead_seconds: int | None = None,
    ) -> Flow[MaintenanceWindow]:
        """Another plan for a window that is not over."""
        body = _window(starts_at, ends_at, mode, message, tenants, lead_seconds)
        return (yield from self.send(Request(method="PUT", path=_path(window_id), json=body, repeatable=True))).parse(
            MaintenanceWindow
        )

    @operation
    def end_maintenance(self, window_id: str) -> Flow[MaintenanceWindow]:
        """Cancel a window that has not begun, or end one that runs."""
        reply = yield from self.send(Request(method="DELETE", path=_path(window_id), repeatable=False))
        return reply.parse(MaintenanceWindow)

    @operation
    def list_incidents(self) -> Flow[IncidentList]:
        """Newest first."""
        reply = yield from self.send(Request(method="GET", path=f"{API}/admin/incidents", repeatable=True))
        return reply.parse(IncidentList)

    @operation
    def open_incident(
        self,
        title: str,
        *,
        impact: IncidentImpact = "minor",
        state: IncidentState = "investigating",
        message: str | None = None,
    ) -> Flow[Incident]:
        """Tell the public status page that something is wrong."""
        body = given(title=title, impact=impact, state=state, message=message)
        request = Request(method="POST", path=f"{API}/admin/incidents", json=body, repeatable=False)
        return (yield from self.send(request)).parse(Incident)

    @operation
    def update_incident(self, incident_id: str, state: IncidentState, *, message: str | None = None) -> Flow[Incident]:
        """Say how it stands now."""
        path = f"{API}/admin/incidents/{segment(incident_id)}/updates"
        body = given(state=state, message=message)
        return (yield from self.send(Request(method="POST", path=path, json=body, repeatable=False))).parse(Incident)

    @operation
    def get_contacts(self, tenant_id: str) -> Flow[ContactList]:
        """Whom a tenant wants to be written to."""
        return (yield from self.send(Request(method="GET", path=_contacts(tenant_id), repeatable=True))).parse(
            ContactList
        )

    @operation
    def set_contacts(self, tenant_id: str, contacts: Sequence[Contact]) -> Flow[ContactList]:
        """The whole list anew."""
        body = {"contacts": [contact.model_dump(mode="json") for contact in contacts]}
        request = Request(method="PUT", path=_contacts(tenant_id), json=body, repeatable=True)
        return (yield from self.send(request)).parse(ContactList)

    @operation
    def list_mails(self, *, tenant_id: str | None = None, limit: int | None = None) -> Flow[MailList]:
        """What was mailed, newest first, and whether the mail server took it."""
        params = given(tenant_id=tenant_id, limit=limit)
        request = Request(method="GET", path=f"{API}/admin/mails", params=params, repeatable=True)
        return (yield from self.send(request)).parse(MailList)


def _contacts(tenant_id: str) -> str:
    return f"{API}/admin/tenants/{segment(tenant_id)}/contacts"


def _path(window_id: str) -> str:
    return f"{API}/admin/maintenance-windows/{segment(window_id)}"


def _window(
    starts_at: datetime,
    ends_at: datetime,
    mode: MaintenanceMode,
    message: str,
    tenants: Sequence[str] | None,
    lead_seconds: int | None,
) -> dict[str, object]:
    return given(
        starts_at=starts_at, ends_at=ends_at, mode=mode, message=message,
        tenants=list(tenants) if tenants is not None else None, lead_seconds=lead_seconds,
    )  # fmt: skip
