"""The caller of a request and the caller's permissions."""

from __future__ import annotations

from dataclasses import dataclass

from app.kit.http.errors import Forbidden
from app.kit.ids import LOCAL_OWNER
from app.kit.scopes import Scope

CHALLENGE = 'Bearer realm="dspt"'


@dataclass(frozen=True)
class Caller:
    """The sender of a request."""

    owner: str
    """Owner of what the caller creates; without admin scope, of all that the caller sees."""
    scopes: frozenset[Scope]
    key_id: str | None = None
    """The API key used; None if the service runs without keys."""

    @property
    def limited_as(self) -> str:
        """The name under which the caller's images are counted."""
        return self.key_id or self.owner

    def may(self, scope: Scope) -> bool:
        return bool(self.scopes & {scope, Scope.ADMIN})

    def require(self, scope: Scope) -> None:
        """Raise Forbidden unless the caller may make calls of `scope`."""
        if not self.may(scope):
            raise Forbidden(
                f"This call needs a key with the scope `{scope}`; this key has "
                f"{' and '.join(f'`{has}`' for has in sorted(self.scopes))}.",
                code="scope_missing",
                headers={
                    "WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'
                },
            )

    def sees(self, owner: str) -> bool:
        """Return whether this caller may see resources of `owner`."""
        return self.only_owner in (None, owner)

    @property
    def only_owner(self) -> str | None:
        """The only owner whose resources the caller may see; None: all owners."""
        return None if Scope.ADMIN in self.scopes else self.owner


#: Any caller on the machine of a service without keys, with all permissions.
LOCAL = Caller(LOCAL_OWNER, frozenset(Scope))
