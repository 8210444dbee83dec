"""HTTP shapes of keys and administrators."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from s4.domains.access.administrators import Administrator
from s4.domains.access.keys import Key, NewKey
from s4.kernel.context import Restriction
from s4.kernel.keys import SYSTEM_NAME
from s4.kernel.permissions import AdminRole, Permission
from s4.platform.http.strict_json import JSON_NUMBER, NOT_BLANK
from s4.platform.http.times import UtcMoment

_OVERLAP_SECONDS_MAX = 30 * 24 * 3600  # a month: longer, and the old key is a second key
_FIELDS_MAX = 10  # each is a condition in every statement
_PREFIX_CHARS_MAX = 512
_FIELD_CHARS_MAX = 200
_VALUE_CHARS_MAX = 500

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=NOT_BLANK)]
Scope = Literal["documents:read", "documents:write", "search", "usage:read", "keys:manage"]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=5)]
Number = Annotated[float, Field(allow_inf_nan=False), JSON_NUMBER]
FieldName = Annotated[str, StringConstraints(min_length=1, max_length=_FIELD_CHARS_MAX)]
FieldText = Annotated[str, StringConstraints(max_length=_VALUE_CHARS_MAX)]
FieldFilter = Annotated[
    dict[FieldName, bool | FieldText | Number],
    Field(
        max_length=_FIELDS_MAX,
        description="Values of metadata fields; names of nested ones are joined by dots. Only documents that have all "
        "of them, in a list among others, are there for the key.",
    ),
]
KeyPrefix = Annotated[
    str,
    StringConstraints(min_length=1, max_length=_PREFIX_CHARS_MAX),
    Field(description="Only documents whose key begins so are there for the key, and it writes no others."),
]


class Bounds(BaseModel):
    """The part of the documents that a key is bound to."""

    model_config = ConfigDict(extra="forbid")

    key_prefix: KeyPrefix | None = None
    filter: FieldFilter | None = None

    @property
    def restriction(self) -> Restriction:
        return Restriction.of(self.key_prefix, self.filter)


class KeyCreate(Bounds):
    name: Name
    scopes: Scopes
    expires_at: UtcMoment | None = None

    @property
    def new(self) -> NewKey:
        scopes = frozenset(Permission(scope) for scope in self.scopes)
        return NewKey(self.name, scopes, self.expires_at, self.restriction)


class ChildCreate(Bounds):
    scopes: Scopes
    ttl_seconds: Annotated[int, Field(ge=1, le=3600), JSON_NUMBER] = 900


class Rotate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    overlap_seconds: Annotated[
        int, Field(ge=0, le=_OVERLAP_SECONDS_MAX, description="How long the old key still opens."), JSON_NUMBER
    ] = 0


Overlap = Rotate | None
"""Rotation needs no body."""


def overlap_of(request: Overlap) -> timedelta:
    return timedelta(seconds=request.overlap_seconds if request is not None else 0)


class KeyOut(BaseModel):
    """Never with the key itself."""

    prefix: str = Field(description="The public part, between `s4_` and the secret.")
    name: str
    scopes: list[str]
    status: Literal["active", "expired", "revoked"]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used: datetime | None = Field(description="Exact to a minute.")
    key_prefix: str | None
    filter: dict[str, bool | str | float] | None
    parent: str | None = Field(description="Of a child key: the prefix of the key that minted it.")

    @classmethod
    def of(cls, key: Key) -> "KeyOut":
        return cls.model_validate(_fields(key))


class KeyList(BaseModel):
    keys: list[KeyOut]


class KeyMinted(KeyOut):
    """The only answer that ever holds the key."""

    api_key: str

    @classmethod
    def made(cls, made: tuple[Key, str]) -> "KeyMinted":
        return cls.model_validate(_fields(made[0]) | {"api_key": made[1]})


class AdministratorCreate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(pattern=f"^{SYSTEM_NAME}$")]
    role: AdminRole
    expires_at: UtcMoment | None = None


class AdministratorOut(BaseModel):
    """Never with the key itself. The administrator `environment` has the key of `S4_ADMIN_API_KEY`."""

    name: str
    role: AdminRole
    prefix: str | None
    created_at: datetime | None
    expires_at: datetime | None
    last_used: datetime | None = Field(description="Exact to a minute.")

    @classmethod
    def of(cls, administrator: Administrator) -> "AdministratorOut":
        return cls.model_validate(administrator, from_attributes=True)


class AdministratorList(BaseModel):
    administrators: list[AdministratorOut]


class AdministratorMinted(AdministratorOut):
    """The only answer that ever holds the key."""

    api_key: str

    @classmethod
    def made(cls, made: tuple[Administrator, str]) -> "AdministratorMinted":
        return cls(**AdministratorOut.of(made[0]).model_dump(), api_key=made[1])


def _fields(key: Key) -> dict[str, object]:
    return {
        "prefix": key.prefix, "name": key.name, "scopes": sorted(key.scopes), "status": key.status,
        "created_at": key.created_at, "expires_at": key.expires_at, "revoked_at": key.revoked_at,
        "last_used": key.last_used, "key_prefix": key.restriction.key_prefix,
        "filter": dict(key.restriction.fields) or None, "parent": key.parent,
    }  # fmt: skip
