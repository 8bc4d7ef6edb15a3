"""`dspt comparisons`: the comparisons that `dspt models compare` and others have started."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import _find as find
from app.commands._service import (
    AsJson,
    Limit,
    Url,
    group,
    print_deleted,
    print_list,
    print_view,
    service,
)
from app.commands._tables import comparison_details, comparisons_table
from app.commands.releases import print_comparison

if TYPE_CHECKING:
    from dspt_client.schemas.comparisons import ComparisonJobView

comparisons = group("Comparisons of two classifiers, started by `dspt models compare`.")

ComparisonId = Annotated[
    str,
    typer.Argument(
        metavar="COMPARISON",
        help="Id, unique beginning of an id, or name; see `dspt comparisons list`.",
        show_default=False,
    ),
]


@comparisons.command("list")
def list_comparisons(
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List comparisons, newest first."""
    with service(url) as client:
        found = list(islice(client.comparisons.list(), limit))
    print_list(found, as_json, comparisons_table, "No comparisons.")


@comparisons.command()
def show(comparison_id: ComparisonId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a comparison, and its result once it has succeeded."""
    with service(url) as client:
        found = client.comparisons.get(find.comparison_id(client, comparison_id))
    _show(found, as_json)


@comparisons.command()
def cancel(comparison_id: ComparisonId, url: Url = None, as_json: AsJson = False) -> None:
    """Cancel a comparison."""
    with service(url) as client:
        found = client.comparisons.cancel(find.comparison_id(client, comparison_id))
    _show(found, as_json)


@comparisons.command()
def retry(comparison_id: ComparisonId, url: Url = None, as_json: AsJson = False) -> None:
    """Queue a failed or cancelled comparison again."""
    with service(url) as client:
        found = client.comparisons.retry(find.comparison_id(client, comparison_id))
    _show(found, as_json)


@comparisons.command()
def delete(comparison_id: ComparisonId, url: Url = None, as_json: AsJson = False) -> None:
    """Delete an ended comparison; the classifiers and the data set stay."""
    with service(url) as client:
        deleted = find.comparison_id(client, comparison_id)
        client.comparisons.delete(deleted)
    print_deleted("comparison", deleted, as_json)


def _show(comparison: ComparisonJobView, as_json: bool) -> None:
    print_view(comparison, as_json, comparison_details(comparison))
    if comparison.result is not None and not as_json:
        print_comparison(comparison.result)
