"""Maintenance windows, incidents, and the public status."""

from datetime import datetime

from s4client.models.base import Model


class MaintenanceWindow(Model):
    """`mode` is `announce` or `read_only`; `tenants` None: everybody."""

    id: str
    starts_at: datetime
    ends_at: datetime
    mode: str
    message: str = ""
    tenants: tuple[str, ...] | None = None
    lead_seconds: int | None = None
    state: str


class MaintenanceWindowList(Model):
    """By their start."""

    windows: tuple[MaintenanceWindow, ...]


class IncidentUpdate(Model):
    """What was said at a moment."""

    at: datetime
    state: str
    message: str


class Incident(Model):
    """`state` is `investigating`, `identified`, `monitoring` or `resolved`."""

    id: str
    title: str
    impact: str
    state: str
    updates: tuple[IncidentUpdate, ...]


class IncidentList(Model):
    """Newest first."""

    incidents: tuple[Incident, ...]


class ServiceStatus(Model):
    """`status` is `operational`, `maintenance`, `degraded` or `outage`."""

    status: str
    at: datetime
    maintenance: tuple[MaintenanceWindow, ...] = ()
    incidents: tuple[Incident, ...] = ()


class Contact(Model):
    """Whom a tenant wants to be written to, and of what: `maintenance`, `incidents`, `account`."""

    email: str
    roles: tuple[str, ...] = ("maintenance", "incidents", "account")


class ContactList(Model):
    """All contacts of a tenant."""

    contacts: tuple[Contact, ...]


class SentMail(Model):
    """A mail, and what became of it: `waiting`, `sent`, `failed`."""

    mail_id: str
    tenant_id: str
    recipient: str
    template: str
    subject: str
    state: str
    attempts: int
    error: str | None = None
    created_at: datetime
    ended_at: datetime | None = None


class MailList(Model):
    """Newest first."""

    mails: tuple[SentMail, ...]
