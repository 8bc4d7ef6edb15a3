"""`dspt keys`: create, list, rotate and revoke API keys. Changes take effect at once."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.kit.command_line import DataDir, duration, service_database
from app.kit.control_characters import is_clean
from app.kit.scopes import Scope

if TYPE_CHECKING:
    from app.kit.settings import Settings
    from app.tables.access import ApiKey

keys = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Create, list, rotate and revoke API keys. Once a key exists, every request needs one.",
)
_MAX_NAME = 100

KeyId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="As `dspt keys list` shows it; a unique beginning is enough.",
        show_default=False,
    ),
]


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
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Time until the key expires: 12h, 90d, 52w. Default: never.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Create a key and print it once; only its digest is stored."""
    lifetime = None if expires is None else duration(expires, "--expires")
    from app.access import keys as service

    with (
        service_database(data_dir, create=True) as (settings, database),
        database.write() as session,
    ):
        scopes = scope or [Scope.READ, Scope.SUBMIT]
        key, token = service.create(session, name, owner or name, scopes, lifetime)
    _show_once(key, token, settings)


@keys.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    data_dir: DataDir = None,
) -> None:
    """List all keys ever created, without their secrets."""
    from app.access import keys as service

    with service_database(data_dir, schema="checked") as (_, database), database.read() as session:
        found = list(service.every(session))
    if as_json:
        described = [_described(key) for key in found]
        typer.echo(json.dumps(described, ensure_ascii=False, indent=2))
    elif found:
        _show(found)
    else:
        typer.echo("No keys. The API accepts your own programs on its own machine only.")


@keys.command()
def rotate(
    key_id: KeyId,
    overlap: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Time for which the old key stays valid: 30m, 12h, 7d. Default: it is revoked at "
            "once.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Replace a key by a new one with the same name, owner, scopes and lifetime."""
    from app.access import keys as service

    keep = timedelta() if overlap is None else duration(overlap, "--overlap")
    with service_database(data_dir) as (settings, database), database.write() as session:
        old = service.find(session, key_id)
        if old is None:
            raise _not_found(key_id)
        if not service.is_usable(old):
            typer.echo(f"{key_id} was revoked or has expired; create a new key instead.", err=True)
            raise typer.Exit(1)
        if service.is_bootstrap(old):
            typer.echo(
                "Change DSPT_BOOTSTRAP_KEY and restart the API to replace its key.", err=True
            )
            raise typer.Exit(1)
        old_id = old.id
        key, token = service.rotate(session, old, keep)
        ends = "was revoked" if old.revoked_at else f"expires at {_minute(old.expires_at)}"
    _show_once(key, token, settings)
    typer.echo(f"\nThe old key {old_id} {ends}.", err=True)


@keys.command()
def revoke(
    key_id: KeyId,
    data_dir: DataDir = None,
) -> None:
    """Revoke a key at once; what was created with it stays."""
    from app.access import keys as service

    with service_database(data_dir) as (_, database), database.write() as session:
        key = service.revoke(session, key_id)
        if key is None:
            raise _not_found(key_id)
        revoked = f"{key.id} ({key.name})"
    typer.echo(f"Revoked {revoked}.")


def _show_once(key: ApiKey, token: str, settings: Settings) -> None:
    url = os.environ.get("DSPT_URL", "").rstrip("/") or f"http://127.0.0.1:{settings.port}"
    path = "/metrics" if key.scopes == [Scope.METRICS] else "/jobs"
    expiry = "" if key.expires_at is None else f" It expires at {_minute(key.expires_at)}."
    typer.echo(f"{token}\n")
    typer.echo(
        f"Created the key {key.id} of {key.owner} with the scope {' and '.join(key.scopes)}."
        f"{expiry} It is printed above and cannot be shown again. Keep it secret, for example in "
        f'$KEY:\n\n  curl -H "Authorization: Bearer $KEY" {url}{path}',
        err=True,
    )


def _not_found(key_id: str) -> typer.Exit:
    typer.echo(
        f"Not found, or not unique: key {key_id!r}. `dspt keys list` shows all ids.", err=True
    )
    return typer.Exit(1)


def _described(key: ApiKey) -> dict[str, Any]:
    times = ("created_at", "expires_at", "last_used_at", "revoked_at")
    moments = {name: getattr(key, name) for name in times}
    return {
        "id": key.id,
        "name": key.name,
        "owner": key.owner,
        "scopes": key.scopes,
        **{name: None if at is None else at.isoformat() for name, at in moments.items()},
    }


def _show(found: list[ApiKey]) -> None:
    from rich.text import Text

    from dspt.cli.tables import plain_table, shown_ids
    from dspt.cli.terminal import out

    table = plain_table(
        *("id", "name", "owner", "scopes", "expires", "last used", "state"),
        folding=("name", "owner", "scopes"),
    )
    for key, short in zip(found, shown_ids(key.id for key in found), strict=True):
        cells = [short, key.name, key.owner, ", ".join(key.scopes), _day(key.expires_at)]
        table.add_row(*(Text(cell) for cell in [*cells, _day(key.last_used_at), _state(key)]))
    out.print(table)


def _state(key: ApiKey) -> str:
    from app.access.keys import is_usable

    return "revoked" if key.revoked_at else "valid" if is_usable(key) else "expired"


def _day(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d}"


def _minute(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M}"
