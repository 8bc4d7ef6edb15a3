"""`dspt keys`: create, list and revoke API keys. Changes take effect at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.kit.command_line import DataDir, service_database
from app.kit.control_characters import is_clean
from app.kit.http.rules import Scope

if TYPE_CHECKING:
    from app.tables.access import ApiKey

keys = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Create, list and revoke API keys. Once a key exists, every request needs one.",
)
_MAX_NAME = 100


def _name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > _MAX_NAME or not is_clean(name):
        raise typer.BadParameter(f"must have 1 to {_MAX_NAME} characters and no control characters")
    return name


@keys.command()
def create(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            callback=_name,
            help="Name of the person or program that will use it.",
            show_default=False,
        ),
    ],
    owner: Annotated[
        str | None,
        typer.Option(
            callback=lambda text: None if text is None else _name(text),
            help="Owner of the jobs, data sets and models that the key creates and sees; keys may "
            "share an owner. Default: the key's name. The owner `local` has what was created "
            "without keys.",
            show_default=False,
        ),
    ] = None,
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            help="read: read and classify; submit: create, change, delete; metrics: GET /metrics, "
            "for Prometheus; admin: everything, for all owners. May be repeated.",
            show_default="read and submit",
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Create a key and print it once; only its digest is stored."""
    from app.access import keys as service

    with service_database(data_dir) as (_, database), database.write() as session:
        scopes = scope or [Scope.READ, Scope.SUBMIT]
        key, token = service.create(session, name, owner or name, scopes)
    typer.echo(f"{token}\n")
    typer.echo(
        f"Created the key {key.id} of {key.owner} with the scope {' and '.join(key.scopes)}. It is "
        "printed above and cannot be shown again. Keep it secret, for example in $KEY:\n\n"
        '  curl -H "Authorization: Bearer $KEY" http://127.0.0.1:8000/jobs',
        err=True,
    )


@keys.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    data_dir: DataDir = None,
) -> None:
    """List all keys ever created, without their secrets."""
    from app.access import keys as service

    with service_database(data_dir) as (_, database), database.read() as session:
        found = [_described(key) for key in service.every(session)]
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
    elif found:
        _show(found)
    else:
        typer.echo("No keys. The API accepts requests from its own machine only, without a key.")


@keys.command()
def revoke(
    key_id: Annotated[
        str, typer.Argument(metavar="ID", help="As `dspt keys list` shows it.", show_default=False)
    ],
    data_dir: DataDir = None,
) -> None:
    """Revoke a key at once; what was created with it stays."""
    from app.access import keys as service

    with service_database(data_dir) as (_, database), database.write() as session:
        key = service.revoke(session, key_id)
        name = None if key is None else key.name
    if name is None:
        typer.echo(f"Not found: key {key_id!r}. `dspt keys list` shows all ids.", err=True)
        raise typer.Exit(1)
    typer.echo(f"Revoked {key_id} ({name}).")


def _described(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "owner": key.owner,
        "scopes": key.scopes,
        "created_at": key.created_at.isoformat(),
        "revoked_at": None if key.revoked_at is None else key.revoked_at.isoformat(),
    }


def _show(found: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("id", no_wrap=True)  # so that it can be copied
    for column in ("name", "owner", "scopes", "created", "revoked"):
        table.add_column(column, overflow="fold")
    for key in found:
        cells = [key["id"], key["name"], key["owner"], ", ".join(key["scopes"])]
        cells += [key["created_at"][:10], (key["revoked_at"] or "")[:10]]
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table)
