"""What a caller may see and change: the one place that knows of it.

Every statement on documents on behalf of a caller contains `visible(context)`; whatever a caller writes passes
`require_within`. A document outside answers as one that never was.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from s4.domains.documents.metadata import flatten
from s4.domains.documents.models import documents
from s4.domains.documents.queries import filters
from s4.kernel.context import Restriction, TenantContext
from s4.kernel.errors import Forbidden
from s4.kernel.ids import TenantId

Condition = sa.ColumnElement[bool]


def visible(context: TenantContext) -> Condition:
    """On rows of `documents`: live, of the caller's tenant, and in the part of it that the caller's key is bound to."""
    return visible_to(context.tenant_id, context.restriction)


def visible_to(tenant_id: TenantId | sa.BindParameter[str], restriction: Restriction) -> Condition:
    """The same, for a statement that is made once and gets the caller's tenant when it is executed."""
    return sa.and_(documents.c.tenant_id == tenant_id, documents.c.state == "live", *bounds(restriction))


def bounds(restriction: Restriction) -> list[Condition]:
    """The restriction alone, for who needs to know how few documents it leaves."""
    conditions: list[Condition] = []
    if restriction.key_prefix is not None:
        conditions.append(sa.func.substr(documents.c.key, 1, len(restriction.key_prefix)) == restriction.key_prefix)
    for field, value in restriction.fields:
        # With `metadata.` before it no name of a field is that of a system field.
        conditions.append(filters.compile_filter({"field": f"metadata.{field}", "op": "eq", "value": value}))
    return conditions


def require_key_within(restriction: Restriction, key: str | None) -> None:
    """Known before a byte is read. Raises `Forbidden`."""
    prefix = restriction.key_prefix
    if prefix is not None and (key is None or not key.startswith(prefix)):
        raise Forbidden(
            f"This key may only write documents whose key begins with {prefix!r}.", details={"key_prefix": prefix}
        )


def require_within(restriction: Restriction, key: str | None, metadata: Mapping[str, Any]) -> None:
    """Raises `Forbidden` for a document that the writer could not see afterwards."""
    require_key_within(restriction, key)
    has = {(value.field, value.type, value.text, value.number) for value in flatten(metadata)}
    for field, wanted in restriction.fields:
        (value,) = flatten(wanted, field)
        if (value.field, value.type, value.text, value.number) not in has:
            raise Forbidden(
                f"This key may only write documents whose metadata field {field!r} is what the key is bound to.",
                details={"filter": dict(restriction.fields)},
            )
