"""`dspt serve` and `dspt api`."""

from __future__ import annotations

import gc
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.kit.command_line import DataDir, settings_from

if TYPE_CHECKING:  # `dspt --help` imports this module
    from app.kit.settings import Settings


def _set_no_auth(wanted: bool) -> None:
    """Set DSPT_NO_AUTH for this process and those that it starts."""
    if wanted:
        os.environ["DSPT_NO_AUTH"] = "true"


def _set_workers(wanted: int | None) -> None:
    """Set DSPT_API_WORKERS for this process and those that it starts."""
    if wanted is not None:
        os.environ["DSPT_API_WORKERS"] = str(wanted)


NoAuth = Annotated[
    bool,
    typer.Option(
        "--no-auth",
        callback=_set_no_auth,
        help="As long as no API key exists, accept requests from every user and program of this "
        "machine, proxies included (DSPT_NO_AUTH). Default: from your own programs only.",
    ),
]


def serve(
    data_dir: DataDir = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to bind to. An address that others can reach needs an API key: "
            "`dspt keys create NAME`.",
            show_default="127.0.0.1",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port to bind to; 0 selects a free one.", show_default="8000"
        ),
    ] = None,
    _no_auth: NoAuth = False,
) -> None:
    """Run the whole service on this machine until Ctrl-C.

    Starts and stops database, queue, worker and API together. All data are in one directory.
    """
    if sys.platform == "win32":
        typer.echo("dspt serve needs Linux or macOS; on Windows use WSL.", err=True)
        raise typer.Exit(2)
    from app.access.binding import BindingRefused, check_binding
    from app.predictions.settings import PredictionSettings
    from app.serve import ServeError
    from app.serve.stack import refuse_outside_services

    settings = settings_from(data_dir, PredictionSettings)
    host = settings.host if host is None else host
    port = settings.port if port is None else port
    try:
        refuse_outside_services(os.environ)
        check_binding(host, settings)
    except (ServeError, BindingRefused) as error:
        typer.echo(f"dspt serve: {error}", err=True)
        raise typer.Exit(1) from error
    # The supervisor lives as long as the service, and needs a tenth of the memory of what has been
    # imported so far. No shell, and no input of a request.
    arguments = [str(settings.data_dir), host, str(port), str(settings.stop_seconds)]
    program = [sys.executable, "-P", "-m", "app.serve", *arguments]
    os.execv(sys.executable, program)  # nosec B606


def api(
    host: Annotated[
        str | None, typer.Option(help="Address to bind to. Default: DSPT_HOST, or 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port to bind to. Default: DSPT_PORT, or 8000."),
    ] = None,
    _workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            max=64,
            callback=_set_workers,
            help="Processes that share the port. Default: DSPT_API_WORKERS, or 1.",
        ),
    ] = None,
    socket_fd: Annotated[
        int | None,
        typer.Option(hidden=True, help="A bound socket, inherited from the process that watches."),
    ] = None,
    metrics_socket: Annotated[
        Path | None,
        typer.Option(hidden=True, help="Path for a Unix socket, in the folder of all processes."),
    ] = None,
    sign_in_sha256: Annotated[
        str | None,
        typer.Option(hidden=True, help="Digest of the token in the link that `dspt serve` prints."),
    ] = None,
    _no_auth: NoAuth = False,
) -> None:
    """Run the HTTP API alone, until Ctrl-C.

    It is configured by environment variables: DSPT_DATABASE_URL, DSPT_BROKER_URL,
    DSPT_STORAGE_URL. Without DSPT_BROKER_URL jobs are accepted but stay queued.
    """
    from app.predictions.settings import PredictionSettings

    settings = settings_from(None, PredictionSettings)
    if settings.api_workers > 1 and socket_fd is None:
        _become_supervisor(settings, host, port)
    from dspt.kit.cpus import set_thread_defaults
    from dspt.kit.memory import permanent

    set_thread_defaults()  # read when torch is imported, later
    # A full collection blocks all requests for some 50 ms, and would run every few seconds.
    gc.set_threshold(20_000, 10, 50)

    sockets = None if socket_fd is None else [socket.socket(fileno=socket_fd)]
    host = settings.host if host is None else host
    port = settings.port if port is None else port
    if sockets is not None:
        host = str(sockets[0].getsockname()[0])
    with permanent():
        # Before the other imports, which take as long as all before them.
        _check_address(settings, host, port if sockets is None else None)
        import uvicorn

        from app.installation.start import prepare_or_exit
        from app.kit.http.stopping import Server
        from app.kit.logging import configure_logging
        from app.kit.tracing import TracingNotInstalled
        from app.main import create_app

    configure_logging(settings)
    context = prepare_or_exit("dspt api", settings)
    try:
        application = create_app(settings, context, sign_in_sha256, metrics_socket)
    except TracingNotInstalled as error:
        typer.echo(f"dspt api: {error}", err=True)
        raise typer.Exit(2) from error
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        log_config=None,
        server_header=False,
    )
    server = Server(
        config,
        application.state.stop,
        delay=settings.stop_delay_seconds,
        timeout=settings.stop_timeout_seconds,
    )
    server.run(sockets=sockets)
    if not server.started:
        raise typer.Exit(1)


def _check_address(settings: Settings, host: str, port: int | None) -> None:
    """Exit with a sentence if the API may not or cannot bind this address.

    It comes before the database is migrated. port: None if it is bound already.
    """
    from app.access.binding import BindingRefused, check_binding
    from app.serve import ServeError
    from app.serve.listener import bind

    try:
        check_binding(host, settings)
        if port is not None:
            bind(host, port).close()  # the server binds all addresses itself
    except (BindingRefused, ServeError) as error:
        typer.echo(f"dspt api: {error}", err=True)
        raise typer.Exit(1) from error


def _become_supervisor(settings: Settings, host: str | None, port: int | None) -> NoReturn:
    """Become the small process that starts and watches API processes on one port."""
    from app.installation.start import prepare_or_exit
    from app.kit.logging import configure_logging
    from app.predictions.settings import shares
    from dspt.kit.cpus import available_cpus, set_thread_defaults

    count = settings.api_workers
    host = settings.host if host is None else host
    port = settings.port if port is None else port
    _check_address(settings, host, port)
    # On SQLite each would run the background loops; without Redis each would count by itself.
    if settings.database_url.startswith("sqlite") or not settings.broker_url:
        typer.echo(
            f"dspt api: {count} API processes (--workers, DSPT_API_WORKERS) need PostgreSQL "
            "(DSPT_DATABASE_URL), and Redis for their common rate limits (DSPT_BROKER_URL).",
            err=True,
        )
        raise typer.Exit(1)
    configure_logging(settings)
    prepare_or_exit("dspt api", settings).close()  # migrations run, and errors appear, once
    os.environ.update(shares(count))
    set_thread_defaults(threads=max(1, available_cpus() // count))
    arguments = [count, host, port, settings.stop_seconds]
    program = [sys.executable, "-P", "-m", "app.serve.processes", *map(str, arguments)]
    # No shell, and no input of a request.
    os.execv(sys.executable, program)  # nosec B606


if __name__ == "__main__":
    main = typer.Typer(add_completion=False)
    main.command("serve")(serve)
    main.command("api")(api)
    main()
