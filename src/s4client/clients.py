"""The four clients: what can be done, times how it runs."""

from s4client.operations import AdminOperations, TenantOperations
from s4client.transport import AsyncTransport, BlockingTransport


class S4Client(TenantOperations, BlockingTransport):
    """A tenant's client. `with S4Client(url, api_key="s4_…") as s4: s4.upload("report.pdf")`"""


class AsyncS4Client(TenantOperations, AsyncTransport):
    """The same on asyncio. `async with AsyncS4Client(url, api_key="s4_…") as s4: await s4.upload("a.pdf")`"""


class S4AdminClient(AdminOperations, BlockingTransport):
    """The administrator's client."""


class AsyncS4AdminClient(AdminOperations, AsyncTransport):
    """The same on asyncio."""
