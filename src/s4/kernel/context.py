"""Who is asking. A context is minted by `domains/access` from a credential, or for a job from its row, nowhere else."""

from dataclasses import dataclass

from s4.kernel.errors import Forbidden
from s4.kernel.ids import KeyId, TenantId
from s4.kernel.permissions import Permission


@dataclass(frozen=True, slots=True)
class TenantContext:
    """Proof that the bearer speaks for `tenant_id`. Every tenant operation takes one first."""

    tenant_id: TenantId
    key_id: KeyId | None
    permissions: frozenset[Permission]

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
