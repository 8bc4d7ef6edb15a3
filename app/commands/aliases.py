"""`dspt models promote`, `rollback`, `aliases` and `unalias`: names that point to models."""

from __future__ import annotations

import re
from itertools import islice
from typing import Annotated

import typer

from app.commands import _find as find
from app.commands._service import AsJson, ModelId, Url, print_list, print_view, service
from app.commands._tables import alias_moves, aliases_table
from dspt.cli.terminal import out, print_json

Owner = Annotated[
    str | None,
    typer.Option(
        help="Owner of the alias (admin keys only). Default: the caller.", show_default=False
    ),
]


def promote(
    model_id: ModelId,
    alias: Annotated[str, typer.Option(help="The alias.")] = "production",
    capture: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of the predictions through the alias whose photos are kept for feedback "
            "and drift. Default: as before; 0 for a new alias.",
            show_default=False,
        ),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Point an alias to a classifier. No request fails while it moves."""
    from app.models.schemas import ALIAS_PATTERN, ALIAS_RULE

    if not re.fullmatch(ALIAS_PATTERN, alias):
        raise typer.BadParameter(
            f"{alias!r} is not a valid alias. {ALIAS_RULE}",
            param_hint="'--alias'",
        )
    with service(url) as client:
        model = client.aliases.promote(find.model_id(client, model_id), alias)
        if capture is not None:
            client.aliases.put(alias, model.id, capture=capture)
    print_view(model, as_json, f"{alias} now points to {model.id}.")


def rollback(
    alias: Annotated[str, typer.Argument(metavar="[ALIAS]")] = "production",
    owner: Owner = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Point an alias to its previous classifier. Run again to go back further."""
    with service(url) as client:
        moved = client.aliases.rollback(alias, owner=owner)
    print_view(moved, as_json, f"{moved.name} points to {moved.model_id} again.")


def aliases(
    alias: Annotated[
        str | None,
        typer.Argument(
            metavar="[ALIAS]", help="Show the moves of this alias. Default: list all aliases."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Show at most this many.")] = 20,
    owner: Owner = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List all aliases, or the moves of one."""
    with service(url) as client:
        if alias is not None:
            history = client.aliases.get(alias, limit=limit, owner=owner)
            print_view(history, as_json, alias_moves(history))
            return
        found = list(islice(client.aliases.list(), limit))
    print_list(found, as_json, aliases_table, "No aliases. Create one with dspt models promote.")


def unalias(
    alias: Annotated[str, typer.Argument(metavar="ALIAS", show_default=False)],
    owner: Owner = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Remove an alias. The classifier is kept."""
    with service(url) as client:
        client.aliases.delete(alias, owner=owner)
    if as_json:
        print_json({"alias": alias, "deleted": True})
    else:
        out.print(f"Removed the alias {alias}.", markup=False)
