from __future__ import annotations

import pytest

from benchmarks.noise_robustness.__main__ import BENCHMARK
from benchmarks.noise_robustness.settings import (
    METHODS,
    UNLABELLED,
    Cell,
    Noise,
    Recipe,
    Settings,
    settings_of,
)
from benchmarks.skeleton.program import run
from dspt.config import DEFAULT_LR


def parse(*arguments: str) -> Settings:
    return settings_of(BENCHMARK.parser().parse_args(arguments))


def test_the_defaults_are_the_papers_table() -> None:
    settings = parse("--data", "a")
    assert settings.methods == tuple(name for name in METHODS if name != UNLABELLED)
    assert settings.shots == (16,)
    assert settings.seeds == (1, 2, 3)
    cells = settings.cells(("a", "b"))
    # 0 % once, then 2 protocols x 2 kinds x 6 rates; 2 data sets; 3 seeds
    assert len(cells) == (1 + 2 * 2 * 6) * 2 * 3
    assert len({cell.name for cell in cells}) == len(cells)
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
    assert {noise.rate for noise in settings.noises} == {0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75}


def test_rate_zero_is_one_cell_and_only_if_asked_for() -> None:
    assert parse("--data", "a", "--rates", "0").noises == (Noise("clean"),)
    assert [noise.name for noise in parse("--data", "a", "--rates", "0.375").noises] == [
        "global-symmetric-37.5",
        "global-asymmetric-37.5",
        "per_class-symmetric-37.5",
        "per_class-asymmetric-37.5",
    ]


def test_names_of_cells_say_all() -> None:
    assert Cell("pets", 4, Noise("clean"), 0).name == "pets-4shot-clean-seed0"
    human = Noise("human", column="worse")
    assert Cell("cifar", 16, human, 2).name == "cifar-16shot-human-worse-seed2"


def test_the_two_recipes() -> None:
    own, coop = Recipe.of("project"), Recipe.of("coop")
    assert (own.lr, own.ctx_init, own.augment_views) == (DEFAULT_LR, "a photo of a", 0)
    assert set(coop.lr.values()) == {0.002}
    assert (coop.epochs, coop.batch_size, coop.n_ctx, coop.ctx_init) == (50, 32, 16, "random")
    longer = Recipe.of("coop", epochs=200)
    assert (longer.epochs, longer.augment_views, longer.lr) == (200, 8, coop.lr)


def test_all_options_reach_the_settings() -> None:
    words = (
        "--data a/x b --backbone RN50/openai --rates 0 0.5 0.5 --kinds symmetric --protocols global"
        " --shots 1 2 --seeds 0 --methods dspt ce --recipe coop --epochs 200"
        " --logistic-c 3 --device cpu --precision float32"
    )
    settings = parse(*words.split(), "--default-config", '{"epochs": 7}')
    assert [noise.name for noise in settings.noises] == ["clean", "global-symmetric-50"]
    assert (settings.shots, settings.seeds) == ((1, 2), (0,))
    assert settings.methods == settings.losses == ("ce", "dspt")
    assert (settings.recipe.epochs, settings.train_views) == (200, 8)
    assert (settings.logistic_c, settings.tune_config(4).epochs) == (3, 7)
    assert settings.tune_config(4).seed == 4


def test_human_labels_take_the_place_of_flips() -> None:
    settings = parse("--data", "a", "--given-labels", "h.csv")
    assert [noise.name for noise in settings.noises] == ["clean", "human-label"]
    named = parse("--data", "a", "--given-labels", "h.csv", "--given-column", "aggre", "worse")
    assert [n.name for n in named.noises] == ["clean", "human-aggre", "human-worse"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rates", "25"], "'25' must be a number from 0 to 1"),
        (["--shots", "0"], "'0' must be a whole number from 1"),
        (["--seeds", "-1"], "'-1' must be a whole number from 0"),
        (["--logistic-c", "0"], "'0' must be a number above 0"),
        (["--methods", "svm"], "invalid choice: 'svm'"),
        (["--default-config", "[]"], "must be a JSON object"),
    ],
)
def test_invalid_options_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(BENCHMARK, ["--data", "a", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
