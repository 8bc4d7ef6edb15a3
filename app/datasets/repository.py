"""Find data sets, and delete those without references."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dspt_client.schemas.status import TERMINAL
from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session, aliased, undefer

from app.kit.http.filters import Filters
from app.kit.ids import is_id
from app.kit.newest_first import newest_first
from app.tables.datasets import Dataset
from app.tables.jobs import Job


def get(session: Session, dataset_id: str) -> Dataset | None:
    return session.get(Dataset, dataset_id) if is_id(dataset_id) else None


def by_identity(session: Session, identity: str) -> Dataset | None:
    return session.scalar(select(Dataset).where(Dataset.identity == identity))


def page(
    session: Session, filters: Filters, *, owner: str | None, after: str | None, limit: int
) -> Sequence[Dataset]:
    """Return data sets of one owner, or of all (None), newest first, older than `after`."""
    query = newest_first(select(Dataset), Dataset, owner=owner, after=after, limit=limit)
    columns = Dataset.__table__.c
    query = filters.apply(query, columns, columns.filename)
    return session.scalars(query).all()


def set_kept(session: Session, dataset_id: str, kept: bool) -> bool:
    """Mark a data set as kept without jobs, or not; return whether it exists."""
    changed = update(Dataset).where(Dataset.id == dataset_id).values(kept=kept)
    return session.execute(changed.returning(Dataset.id)).one_or_none() is not None


def lineage(session: Session, dataset: Dataset) -> Iterator[Dataset]:
    """Yield the data set and all that it was made from, the first zip last."""
    yield dataset
    while (made_from := dataset.parent_id or dataset.base_id) is not None:
        earlier = session.get(Dataset, made_from)
        assert earlier is not None  # foreign key
        dataset = earlier
        yield dataset


def zip_of(session: Session, dataset: Dataset) -> Dataset:
    """Return the newest zip of a data set: the data set itself, or the one that it corrects."""
    return next(each for each in lineage(session, dataset) if each.parent_id is None)


def zips_of(session: Session, dataset: Dataset) -> list[Dataset]:
    """Return all zips with photos of a data set, the first one first."""
    zips = [each for each in lineage(session, dataset) if each.parent_id is None]
    return zips[::-1]


def corrections_of(session: Session, dataset: Dataset) -> Dataset | None:
    """Return the corrections that apply to a data set: its own, or those before photos were added.

    None if there are none.
    """
    return next((each for each in lineage(session, dataset) if each.parent_id is not None), None)


def kept_zip_of(session: Session, dataset: Dataset) -> Dataset | None:
    """Return the newest zip, locked against changes in this transaction; None if deleted.

    The first zip is locked for its whole family.
    """
    root = select(Dataset.id).where(Dataset.id == dataset.family_id)
    session.execute(root.with_for_update(read=True))
    return session.get(Dataset, dataset.parent_id or dataset.id, populate_existing=True)


def next_version(session: Session, family_id: str) -> int:
    """Return the next number in a family. The first zip must be locked."""
    family = or_(Dataset.id == family_id, Dataset.root_id == family_id)
    return 1 + (session.scalar(select(func.max(Dataset.version)).where(family)) or 0)


def lock(session: Session, dataset_id: str) -> None:
    """Lock the row against use and deletion until the transaction ends."""
    session.execute(select(Dataset.id).where(Dataset.id == dataset_id).with_for_update())


def remove_unused(session: Session, dataset_id: str) -> bool:
    """Delete the row if it is not kept, no job refers to it, and nothing was made from it.

    Return whether it was deleted.

    The row must be locked: otherwise two transactions that drop the last two references would each
    see the other's reference, and neither would delete the row.
    """
    child = aliased(Dataset)
    made_from_it = or_(child.parent_id == dataset_id, child.base_id == dataset_id)
    query = delete(Dataset).where(
        Dataset.id == dataset_id,
        Dataset.kept.is_(False),
        ~select(Job.id).where(Job.dataset_id == dataset_id).exists(),
        ~select(child.id).where(made_from_it).exists(),
    )
    return session.execute(query.returning(Dataset.id)).one_or_none() is not None


def newest_health(session: Session, dataset_id: str) -> Job | None:
    """Return the job that read the data set last and has a health report, with the report."""
    query = select(Job).options(undefer(Job.health)).order_by(Job.finished_at.desc()).limit(1)
    return session.scalar(query.where(Job.dataset_id == dataset_id, Job.health.is_not(None)))


def unfinished_job(session: Session, dataset_id: str) -> Job | None:
    """Return a job on the data set that has not ended."""
    waiting = select(Job).where(Job.dataset_id == dataset_id, Job.status.not_in(TERMINAL))
    return session.scalar(waiting.limit(1))
