"""What the operator tells everybody: maintenance windows, and incidents.

Each is a record in the bucket (`Collection.NOTICES`), named `win_…` or `inc_…`. Three things make use of them:

- the `Board`, in every API process: all that is announced, read anew every few seconds in the background. It costs a
  request a look into memory: the header on a tenant's answers, the refusal of writes in read-only mode, `GET /status`,
  the field of the profile;
- the `Teller`, a regular task: events to each tenant concerned, once for each occasion;
- the `Mailbox`: mail to tenants' contacts by SMTP, if a server is configured; each mail is a job;
- the administrator's routes.

A window begins and ends by itself, by the database's clock.
"""

from s4.domains.announcements.board import Board
from s4.domains.announcements.mail import Contacts, Mailbox
from s4.domains.announcements.service import NoticeService
from s4.domains.announcements.teller import Teller

__all__ = ["Board", "Contacts", "Mailbox", "NoticeService", "Teller"]
