"""The HTTP call that makes a data set of the demo's photographs."""

from __future__ import annotations

import io

from dspt_client.schemas.datasets import DatasetDetail
from fastapi import Response

from app.access.dependencies import CallerDep, caller_router
from app.datasets import details, service
from app.datasets.dependencies import ShelfDep
from app.kit.http.context import ContextDep
from app.kit.http.errors import Conflict, StorageFull, problems
from app.kit.http.rules import Scope, rules

router = caller_router("/datasets/demo", tags=["data sets"])


@router.post("", status_code=201, responses=problems(Conflict, StorageFull))
@rules(Scope.SUBMIT)
def create_demo_dataset(
    response: Response, context: ContextDep, caller: CallerDep, shelf: ShelfDep
) -> DatasetDetail:
    """Make a data set of the demo's photographs, 30 % of them with a wrong label on purpose.

    `demo_photos` of `GET /session` says whether the service can make them. Each owner has it once.
    """
    try:
        from app.datasets.demo_photos import make_demo_data  # imports numpy and Pillow

        data = make_demo_data()
    except ImportError as error:
        raise Conflict(
            "The service cannot make the demo's photographs: scikit-image is not installed. "
            "Install it with `pip install 'dspt[demo]'`.",
            code="demo_not_installed",
        ) from error
    upload = service.receive(io.BytesIO(data.zip), "demo.zip")
    dataset_id = service.store(context, upload, caller.owner, kept=True)
    found = details.of_new(context, caller, shelf, dataset_id)
    response.headers["Location"] = found.links["self"]
    return found
