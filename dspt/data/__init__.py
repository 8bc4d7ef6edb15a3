"""Read data sets of labelled images from untrusted folders and zips.

Layouts, each also inside any number of outer folders:
    <class>/.../<image>                          subfolders of a class folder belong to the class
    train/<class>/... with test/ and/or val/     split names in many forms: see `split_names`
    <class>/train/... and <class>/test/...
    images and a table of labels                 labels.csv and others: see `table_records`
If two readings fit, the data set is rejected with both; other assumptions are warnings.

Codes of the problems for which a data set is rejected:
    not_found, unreadable                        the path itself
    not_a_zip, truncated_zip, damaged_zip        not a zip, or an incomplete one
    unsafe_path, symlink, special_file, encrypted, unsupported_compression, duplicate_name,
    overlapping_entries, suspicious_ratio, too_many_files, too_large
                                                 zip or folder is not safe to read
    no_classes, no_train, one_class, empty_class, class_not_in_train, too_many_classes,
    ambiguous_layout                             classes are missing, too many or misplaced
    invalid_class, numeric_class, same_class_words, invalid_class_words, unknown_class_name,
    invalid_class_names                          names of classes and their words in the prompt
    invalid_table, missing_file_name, unknown_file, duplicate_row, missing_label, unknown_split
                                                 tables of labels
A problem of a single file (not an image, damaged, too large, too costly to decode) only rejects
that file, with the reason.

Each public name is loaded, with numpy and Pillow, when it is first used: the modules of names and
limits need neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dspt.data.dataset import Dataset, Item, Rejected, dataset_digest, load_dataset, read_image
    from dspt.data.hostile.limits import Limits
    from dspt.data.images import decode_image
    from dspt.data.splits import few_shot, stratified_folds, stratified_holdout

__all__ = [
    "Dataset",
    "Item",
    "Limits",
    "Rejected",
    "dataset_digest",
    "decode_image",
    "few_shot",
    "load_dataset",
    "read_image",
    "stratified_folds",
    "stratified_holdout",
]

_MODULES = {
    "Limits": "hostile.limits",
    "decode_image": "images",
    "few_shot": "splits",
    "stratified_folds": "splits",
    "stratified_holdout": "splits",
}


if not TYPE_CHECKING:  # a type checker reports a name that does not exist

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'dataset')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
