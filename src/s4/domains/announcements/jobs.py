"""Background work on notices: their kinds, and the requests for them."""

from s4.platform.jobs import SYSTEM, JobRequest

TELL = "announcements.tell"
MAIL = "announcements.mail"


def tell() -> JobRequest:
    """Somebody has something new to say."""
    return JobRequest(TELL, SYSTEM, TELL, {})


def send(tenant_id: str, mail_id: str) -> JobRequest:
    """A mail waits."""
    return JobRequest(MAIL, tenant_id, mail_id, {})
