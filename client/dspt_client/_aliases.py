"""The calls about aliases: names that stay while models come and go."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dspt_client._blocking import blocking, blocking_iterator
from dspt_client._calls import Call, as_a, delete, get, path
from dspt_client._connection import Connection
from dspt_client._pages import items
from dspt_client.schemas.models import AliasHistory, AliasView, ModelView

#: The default alias.
PRODUCTION = "production"


class AliasCalls:
    """`client.aliases`. owner: of the alias, for admin keys. Default: the caller."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> AsyncIterator[AliasView]:
        """Iterate over aliases, newest first. Pages are fetched on demand."""
        return items(self._connection, "/aliases", AliasView, {})

    async def get(
        self, alias: str = PRODUCTION, *, limit: int = 20, owner: str | None = None
    ) -> AliasHistory:
        """Return an alias and its last `limit` moves (at most 100), newest first."""
        params = {"limit": limit, **_owner(owner)}
        return await self._connection.call(
            get(path("aliases", alias), as_a(AliasHistory), params=params)
        )

    async def promote(self, model_id: str, alias: str = PRODUCTION) -> ModelView:
        """Point an alias to this model. Creates the alias if it does not exist.

        No request fails meanwhile. Requests after this call are answered by this model.
        """
        options = {"json": {"alias": alias}}
        where = path("models", model_id)
        return await self._connection.call(
            Call("PATCH", where, as_a(ModelView), repeatable=True, options=options)
        )

    async def put(
        self,
        alias: str,
        model_id: str,
        *,
        version: int | None = None,
        new: bool = False,
        capture: float | None = None,
    ) -> AliasView:
        """Point an alias to this model, unless it has been moved meanwhile.

        version: of the alias as last seen, `get(alias).history[0].number`. Default: any. new: only
        if there is no such alias. Raises PreconditionFailed otherwise. capture: share of the
        predictions through the alias whose photos are kept, 0 to 1. Default: as before.
        """
        wanted = {"model": model_id} | ({} if capture is None else {"capture": capture})
        headers = _if_match(version) | ({"If-None-Match": "*"} if new else {})
        options = {"json": wanted, "headers": headers}
        where = path("aliases", alias)
        return await self._connection.call(
            Call("PUT", where, as_a(AliasView), repeatable=True, options=options)
        )

    async def rollback(
        self, alias: str = PRODUCTION, *, version: int | None = None, owner: str | None = None
    ) -> AliasView:
        """Point an alias to its previous model. Call it again to go back further.

        version: as of `put`; the request may then be repeated.
        """
        where = path("aliases", alias, "rollback")
        options = {"params": _owner(owner), "headers": _if_match(version)}
        # Sent twice without a version, it would go back twice.
        call = Call("POST", where, as_a(AliasView), version is not None, options)
        return await self._connection.call(call)

    async def delete(self, alias: str, *, owner: str | None = None) -> None:
        """Remove an alias. The model is kept."""
        await self._connection.call(delete(path("aliases", alias), params=_owner(owner)))


def _owner(owner: str | None) -> dict[str, str]:
    return {} if owner is None else {"owner": owner}


def _if_match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}


class Aliases:
    """`client.aliases`."""

    def __init__(self, connection: Connection) -> None:
        self._core = AliasCalls(connection)

    list = blocking_iterator(AliasCalls.list)
    get = blocking(AliasCalls.get)
    promote = blocking(AliasCalls.promote)
    put = blocking(AliasCalls.put)
    rollback = blocking(AliasCalls.rollback)
    delete = blocking(AliasCalls.delete)
