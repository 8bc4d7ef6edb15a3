"""Reads data sets of labelled images, folders or zips, as hostile input."""

from dspt.data.dataset import (
    Dataset,
    Item,
    Rejected,
    dataset_digest,
    open_dataset,
    read_image,
)
from dspt.data.images import decode_image
from dspt.data.limits import Limits
from dspt.data.sampling import few_shot, stratified_folds, stratified_holdout

__all__ = [
    "Dataset",
    "Item",
    "Limits",
    "Rejected",
    "dataset_digest",
    "decode_image",
    "few_shot",
    "open_dataset",
    "read_image",
    "stratified_folds",
    "stratified_holdout",
]
