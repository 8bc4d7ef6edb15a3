"""Reads data sets of labelled images, folders or zips, as hostile input.

Forms, each also inside one common top folder:
    <class>/.../<image>                          folders within a class folder belong to it
    train/<class>/... with test/ and/or val/     `valid`, `validation` and other cases too
    images/ and labels.csv                       columns file, label and, if wanted, split

Codes of the problems that refuse a data set:
    not_found, unreadable                        the path itself
    not_a_zip, truncated_zip, damaged_zip        not (all of) a zip
    unsafe_path, symlink, special_file, encrypted, unsupported_compression, duplicate_name,
    overlapping_entries, suspicious_ratio, too_many_files, too_large
                                                 a zip or folder that is not safe to read
    no_classes, no_train, one_class, empty_class, class_not_in_train, too_many_classes
                                                 too little, too much, or in the wrong place
    invalid_class, numeric_class, same_class_words, invalid_class_words, unknown_class_name,
    invalid_class_names                          names of classes and their words
    invalid_table, missing_file_name, unknown_file, duplicate_row, missing_label, unknown_split,
    file_without_label                           labels.csv
What concerns one file only (no image, damaged, too large, too costly) leaves out that file, with
the reason.
"""

from dspt.data.dataset import (
    Dataset,
    Item,
    Rejected,
    dataset_digest,
    load_dataset,
    read_image,
)
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
