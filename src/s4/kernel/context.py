"""Who is asking. A context is minted by `domains/access` from a credential, or for a job from its row, nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass

from s4.kernel.errors import Forbidden
from s4.kernel.ids import GenerationId, KeyId, TenantId
from s4.kernel.permissions import AdminRole, Permission
from s4.kernel.plans import PlanLimits


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from. Work on S4's own behalf has neither."""

    address: str | None = None
    request_id: str | None = None


NOWHERE = Origin()


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, as the audit trail names him: `kind` is admin, tenant, system, or stranger for who was
    refused."""

    kind: str
    name: str
    origin: Origin = NOWHERE


SYSTEM_ACTOR = Actor("system", "s4")


@dataclass(frozen=True, slots=True)
class Restriction:
    """The part of a tenant's documents that a bound key may see and change: those whose key begins with `key_prefix`,
    and whose metadata have these values in these fields. With neither it is all of them."""

    key_prefix: str | None = None
    fields: tuple[tuple[str, str | float | bool], ...] = ()

    @classmethod
    def of(cls, key_prefix: str | None, fields: Mapping[str, str | float | bool] | None) -> "Restriction":
        return cls(key_prefix, tuple(sorted((fields or {}).items())))

    @property
    def binds(self) -> bool:
        return self.key_prefix is not None or bool(self.fields)


UNRESTRICTED = Restriction()


@dataclass(frozen=True, slots=True)
class TenantContext:
    """Proof that the bearer speaks for `tenant_id`. Every tenant operation takes one first."""

    tenant_id: TenantId
    key_id: KeyId | None
    permissions: frozenset[Permission]
    plan: PlanLimits
    origin: Origin = NOWHERE
    restriction: Restriction = UNRESTRICTED
    generation: GenerationId | None = None
    """Of the index, that serves it; None: as each process indexes by itself."""
    logs_queries: bool = False

    @property
    def actor(self) -> Actor:
        return Actor("tenant", f"{self.tenant_id}/{self.key_id}", self.origin)

    def require(self, permission: Permission) -> None:
        """Raises `Forbidden` unless the credential carries `permission`."""
        if permission not in self.permissions:
            raise Forbidden(
                f"This key lacks the scope {permission.value!r}.",
                details={"required_scope": permission.value},
            )


@dataclass(frozen=True, slots=True)
class AdminContext:
    """Proof that the bearer is an administrator. `name` stands in the audit trail."""

    name: str
    role: AdminRole
    origin: Origin = NOWHERE

    @property
    def actor(self) -> Actor:
        return Actor("admin", self.name, self.origin)

    def require(self, permission: Permission) -> None:
        """Raises `Forbidden` unless the role may."""
        if permission not in self.role.permissions:
            raise Forbidden(
                f"The role {self.role.value!r} may not do this; ask an administrator whose role carries "
                f"{permission.value!r}.",
                details={"required_permission": permission.value, "role": self.role.value},
            )
