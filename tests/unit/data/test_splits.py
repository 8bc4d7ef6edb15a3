"""What is tuned on, measured on and audited."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import numpy as np
import pytest

from dspt.config import TuneConfig
from dspt.data import Dataset
from dspt.data.dataset import Item
from dspt.data.splits import Splits
from dspt.errors import ConfigError, DatasetError
from dspt.labels.corrections import Corrections


def dataset(**counts: list[int]) -> Dataset:
    """Images per class of each part, the parts mixed with each other."""
    items = [
        Item(f"{c}/{i}-{part}.jpg", c, cast(Any, part))
        for part, of_class in counts.items()
        for c, n in enumerate(of_class)
        for i in range(n)
    ]
    items.sort(key=lambda item: item.path)
    n_classes = len(next(iter(counts.values())))
    names = tuple(f"class {c}" for c in range(n_classes))
    return Dataset(
        classes=names,
        class_words=names,
        items=tuple(items),
        hashes=("",) * len(items),
        rejected=(),
        warnings=(),
        sha256="0" * 64,
        source=cast(Any, None),
    )


def parts_of(data: Dataset, rows: np.ndarray[Any, Any]) -> set[str]:
    return {data.items[row].split for row in rows}


def counts_of(data: Dataset, rows: np.ndarray[Any, Any]) -> list[int]:
    found = Counter(data.items[row].label for row in rows)
    return [found[c] for c in range(len(data.classes))]


def test_test_images_come_first() -> None:
    data = dataset(train=[6, 5], val=[2, 3], test=[4, 1])
    splits = Splits.of(data, TuneConfig())
    assert splits.measured_on == "test"
    assert splits.labels == "clean"
    assert parts_of(data, splits.measured) == {"test"}
    assert counts_of(data, splits.measured) == [4, 1]
    assert parts_of(data, splits.train) == {"train"}
    assert counts_of(data, splits.train) == [6, 5]
    assert np.array_equal(splits.sampled, splits.train)
    assert np.array_equal(splits.fit, splits.train)


def test_val_beside_test_is_the_validation_part() -> None:
    data = dataset(train=[6, 5], val=[2, 3], test=[4, 1])
    splits = Splits.of(data, TuneConfig())
    assert parts_of(data, splits.validation) == {"val"}
    assert counts_of(data, splits.validation) == [2, 3]
    for other in (dataset(train=[6, 5], val=[2, 3]), dataset(train=[6, 5])):
        assert not len(Splits.of(other, TuneConfig()).validation)
    drop = {data.items[splits.fit[0]].path}
    corrected = Corrections.of(drop=drop).apply(data)
    assert counts_of(corrected, Splits.of(corrected, TuneConfig()).validation) == [2, 3]


def test_images_of_val_with_a_copy_in_another_part_do_not_validate() -> None:
    data = dataset(train=[6, 5], val=[4, 4], test=[4, 4])
    rows = {item.path: row for row, item in enumerate(data.items)}
    groups = np.arange(len(data.items))
    groups[rows["0/0-val.jpg"]] = rows["0/0-train.jpg"]
    groups[rows["0/1-val.jpg"]] = rows["0/3-test.jpg"]
    groups[rows["1/1-val.jpg"]] = groups[rows["1/2-val.jpg"]]
    splits = Splits.of(data, TuneConfig(), groups)
    assert counts_of(data, splits.validation) == [2, 3]
    assert counts_of(data, splits.measured) == [4, 4]


def test_then_validation_images() -> None:
    data = dataset(train=[6, 5], val=[2, 3])
    splits = Splits.of(data, TuneConfig())
    assert splits.measured_on == "val"
    assert splits.labels == "clean"
    assert parts_of(data, splits.measured) == {"val"}
    assert np.array_equal(splits.fit, splits.train)


@pytest.mark.parametrize("seed", range(5))
def test_then_a_share_of_the_training_images(seed: int) -> None:
    data = dataset(train=[20, 10, 2, 1])
    splits = Splits.of(data, TuneConfig(seed=seed, validation_fraction=0.3))
    assert splits.measured_on == "held_out"
    assert splits.labels == "given"
    assert counts_of(data, splits.measured) == [6, 3, 1, 0]
    assert counts_of(data, splits.fit) == [14, 7, 1, 1]
    assert not set(splits.fit) & set(splits.measured)
    assert set(splits.fit) | set(splits.measured) == set(splits.train) == set(splits.sampled)


@pytest.mark.parametrize("seed", range(5))
def test_shots_limit_what_is_tuned_on_and_not_what_is_audited(seed: int) -> None:
    data = dataset(train=[20, 10, 2], test=[5, 5, 5])
    splits = Splits.of(data, TuneConfig(seed=seed, shots=4))
    assert counts_of(data, splits.train) == [20, 10, 2]
    assert counts_of(data, splits.sampled) == [4, 4, 2]
    assert set(splits.sampled) <= set(splits.train)
    assert np.array_equal(splits.fit, splits.sampled)
    assert counts_of(data, splits.measured) == [5, 5, 5]


def test_shots_are_held_out_from_as_well() -> None:
    data = dataset(train=[20, 10, 5])
    splits = Splits.of(data, TuneConfig(shots=5))
    assert counts_of(data, splits.fit) == [4, 4, 4]
    assert counts_of(data, splits.measured) == [1, 1, 1]
    assert set(splits.fit) | set(splits.measured) == set(splits.sampled)


@pytest.mark.parametrize("config", [TuneConfig(), TuneConfig(shots=5), TuneConfig(seed=3)])
def test_corrections_keep_the_sides(config: TuneConfig) -> None:
    """Held-out images stay held out and tuned ones tuned, also when relabelled."""
    data = dataset(train=[20, 10, 6])
    before = Splits.of(data, config)

    def paths(of: Dataset, rows: np.ndarray[Any, Any]) -> set[str]:
        return {of.items[row].path for row in rows}

    sides = [sorted(paths(data, rows)) for rows in (before.measured, before.fit)]
    drop = {side[0] for side in sides}
    relabel = {side[1]: "class 2" for side in sides}
    after_data = Corrections.of(relabel, drop).apply(data)
    after = Splits.of(after_data, config)
    assert paths(after_data, after.measured) == set(sides[0]) - drop
    assert paths(after_data, after.fit) == set(sides[1]) - drop
    assert paths(after_data, after.train) == {item.path for item in after_data.items}
    # Corrections of the corrected data set still go by the labels as uploaded.
    again_data = Corrections.of(drop={sides[1][2]}).apply(after_data)
    again = Splits.of(again_data, config)
    assert paths(again_data, again.measured) == set(sides[0]) - drop


def test_corrections_leave_each_class_an_image_to_tune_on() -> None:
    data = dataset(train=[5, 2])
    before = Splits.of(data, TuneConfig())
    tuned = next(data.items[row].path for row in before.fit if data.items[row].label == 1)
    after_data = Corrections.of({tuned: "class 0"}).apply(data)
    after = Splits.of(after_data, TuneConfig())
    assert counts_of(after_data, after.fit) == [5, 1]
    assert counts_of(after_data, after.measured) == [1, 0]
    assert not set(after.fit) & set(after.measured)


def test_others_are_held_out_if_all_held_out_images_are_dropped() -> None:
    data = dataset(train=[5, 5])
    drop = [data.items[row].path for row in Splits.of(data, TuneConfig()).measured]
    after_data = Corrections.of(drop=drop).apply(data)
    assert counts_of(after_data, Splits.of(after_data, TuneConfig()).measured) == [1, 1]


def test_the_seed_decides() -> None:
    data = dataset(train=[20, 20])
    one, same, other = (Splits.of(data, TuneConfig(seed=seed, shots=10)) for seed in (1, 1, 2))
    assert np.array_equal(one.fit, same.fit)
    assert np.array_equal(one.measured, same.measured)
    assert not np.array_equal(one.sampled, other.sampled)
    assert not np.array_equal(one.measured, other.measured)


def test_one_shot_leaves_nothing_to_measure_on() -> None:
    with pytest.raises(ConfigError, match=r"shots is 1.*set shots to 2 or more") as caught:
        Splits.of(dataset(train=[20, 20]), TuneConfig(shots=1))
    assert caught.value.param == "shots"
    with_test = dataset(train=[20, 20], test=[1, 1])
    assert len(Splits.of(with_test, TuneConfig(shots=1)).fit) == 2


def test_single_images_leave_nothing_to_measure_on() -> None:
    with pytest.raises(
        DatasetError, match=r"every class has a single image \(copies count as one\)"
    ) as caught:
        Splits.of(dataset(train=[1, 1, 1]), TuneConfig())
    assert caught.value.code == "nothing_to_measure_on"


def copied(data: Dataset, times: int) -> np.ndarray[Any, Any]:
    """Groups in which each image stands for `times` copies with consecutive names in its class."""
    first: dict[Any, int] = {}
    groups = []
    for row, item in enumerate(data.items):
        number = int(item.path.partition("/")[2].partition("-")[0])
        groups.append(first.setdefault((item.label, number // times), row))
    return np.array(groups)


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_one_image_in_the_held_out_share(seed: int) -> None:
    data = dataset(train=[24, 12, 3])
    groups = copied(data, 3)
    splits = Splits.of(data, TuneConfig(seed=seed, validation_fraction=0.25), groups)
    assert counts_of(data, splits.train) == [24, 12, 3]
    assert counts_of(data, splits.sampled) == [8, 4, 1]
    assert counts_of(data, splits.measured) == [2, 1, 0]
    assert counts_of(data, splits.fit) == [6, 3, 1]
    assert not set(groups[splits.fit]) & set(groups[splits.measured])


def test_a_copy_is_not_a_second_shot() -> None:
    data = dataset(train=[24, 12], test=[1, 1])
    groups = np.where([item.split == "test" for item in data.items], -1, copied(data, 3))
    groups[groups < 0] = 1000 + np.arange(2)
    splits = Splits.of(data, TuneConfig(shots=6), groups)
    assert counts_of(data, splits.sampled) == [6, 4]
    assert len(set(groups[splits.sampled])) == 10


def test_test_images_with_a_copy_in_training_are_not_measured() -> None:
    data = dataset(train=[6, 6], test=[4, 4])
    groups = copied(data, 1)  # test image i is a copy of training image i
    splits = Splits.of(data, TuneConfig(), groups)
    assert splits.measured_on == "held_out"  # all of test/ is known
    assert counts_of(data, splits.leaked) == [4, 4]
    row = next(row for row, item in enumerate(data.items) if item.split == "test")
    groups[row] = 1000
    splits = Splits.of(data, TuneConfig(), groups)
    assert splits.measured_on == "test"
    assert splits.measured.tolist() == [row]
    assert len(splits.leaked) == 7
