"""`s4 webhook …`: where a tenant has events sent, and what became of them."""

from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli.options import DEFAULT_URL, CaFile, Json, Server, TenantKey, Url, examples, tenant_client
from s4.entrypoints.cli.output import print_json, print_line, print_note, print_table

if TYPE_CHECKING:
    from s4client import Delivery, Webhook

_FIRST = "$(s4 webhook list | head -1 | cut -f 1)"
_ITS_LAST = f"$(s4 webhook deliveries {_FIRST} --limit 1 | cut -f 1)"

WebhookId = Annotated[str, typer.Argument(metavar="ID", help="Id of the webhook.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    webhook = typer.Typer(help="Have events sent to an address of yours.", no_args_is_help=True)
    webhook.command(
        epilog=examples(
            "s4 webhook create https://hooks.example.com/s4",
            "s4 webhook create https://hooks.example.com/s4 --event document.processed --event document.failed --json",
        )
    )(create)
    webhook.command("list", epilog=examples("s4 webhook list", "s4 webhook list --json"))(list_webhooks)
    webhook.command("test", epilog=examples(f"s4 webhook test {_FIRST}"))(ping)
    webhook.command(epilog=examples(f"s4 webhook deliveries {_FIRST}", f"s4 webhook deliveries {_FIRST} --state dead"))(
        deliveries
    )
    webhook.command(epilog=examples(f"s4 webhook replay {_FIRST} {_ITS_LAST}"))(replay)
    webhook.command(epilog=examples(f"s4 webhook delete {_FIRST}"))(delete)
    app.add_typer(webhook, name="webhook")


def create(
    target: Annotated[str, typer.Argument(metavar="URL", help="Where to send events.")],
    event: Annotated[list[str] | None, typer.Option(help="A kind of event; all if absent. May be repeated.")] = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    secret_stdin: Annotated[bool, typer.Option("--secret-stdin", help="Read the secret from stdin.")] = False,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Create a webhook and show its secret, once."""
    secret = typer.get_text_stream("stdin").readline().strip() if secret_stdin else None
    with tenant_client(Server(url, tenant_key, ca_file)) as s4:
        made = s4.create_webhook(target, events=event or ["*"], description=description, secret=secret)
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    print_line(f"Created webhook {made.id}.")
    print_line()
    print_line("Its secret is shown only now; your receiver verifies signatures with it:")
    print_line()
    print_line(f"  {made.secret}")


def list_webhooks(
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """List the webhooks, the oldest first."""
    with tenant_client(Server(url, tenant_key, ca_file)) as s4:
        webhooks = s4.list_webhooks().webhooks
    if as_json:
        print_json({"webhooks": [each.model_dump(mode="json") for each in webhooks]})
        return
    print_table(("id", "url", "events", "state"), [_webhook_row(each) for each in webhooks])


def ping(
    webhook_id: WebhookId,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Send a webhook.ping. How it went, `s4 webhook deliveries` says."""
    with tenant_client(Server(url, tenant_key, ca_file)) as s4:
        _said(s4.test_webhook(webhook_id), as_json=as_json)


def deliveries(
    webhook_id: WebhookId,
    state: Annotated[str | None, typer.Option(help="pending, delivered or dead.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most deliveries to list.")] = 100,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """List what was sent to a webhook, the newest first, and why what failed did."""
    with tenant_client(Server(url, tenant_key, ca_file)) as s4:
        found = s4.list_deliveries_page(webhook_id, limit=limit, state=state)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    headings = ("id", "event", "state", "attempts", "created", "status", "reason")
    print_table(headings, [_delivery_row(each) for each in found.deliveries])
    if found.next_cursor is not None:
        print_note(f"There are more than {limit}; --limit shows more.")


def replay(
    webhook_id: WebhookId,
    delivery_id: Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of the delivery.")],
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Send an event again, whatever became of it."""
    with tenant_client(Server(url, tenant_key, ca_file)) as s4:
        _said(s4.replay_delivery(webhook_id, delivery_id), as_json=as_json)


def delete(
    webhook_id: WebhookId,
    url: Url = DEFAULT_URL,
    tenant_key: TenantKey = None,
    ca_file: CaFile = None,
) -> None:
    """Delete a webhook. What waits for it is not sent."""
    with tenant_client(Server(url, tenant_key, ca_file)) as s4:
        s4.delete_webhook(webhook_id)
    print_line(f"Deleted webhook {webhook_id}.")


def _said(delivery: "Delivery", *, as_json: bool) -> None:
    if as_json:
        print_json(delivery.model_dump(mode="json"))
        return
    print_line(f"Delivery {delivery.id} of {delivery.event} will be sent.")


def _webhook_row(webhook: "Webhook") -> tuple[str, ...]:
    state = "active" if webhook.active else webhook.disabled_reason or "off"
    return webhook.id, webhook.url, ",".join(webhook.events), state


def _delivery_row(delivery: "Delivery") -> tuple[str, ...]:
    return (
        delivery.id,
        delivery.event,
        delivery.state,
        str(delivery.attempts),
        f"{delivery.created_at:%Y-%m-%d %H:%M:%S}",
        "" if delivery.last_status is None else str(delivery.last_status),
        delivery.last_error or "",
    )
