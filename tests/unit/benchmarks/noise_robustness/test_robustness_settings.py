from __future__ import annotations

import pytest

from benchmarks.noise_robustness.cli import parse
from benchmarks.noise_robustness.settings import METHODS, Cell, Noise, Recipe, planted_noises
from dspt.config import DEFAULT_LR


def test_the_defaults_are_the_papers_table() -> None:
    settings = parse(["--data", "a"]).settings
    assert settings.methods == METHODS
    assert settings.shots == (16,)
    assert settings.seeds == (1, 2, 3)
    cells = settings.cells(("a", "b"))
    # 0 % once, then 2 protocols x 2 kinds x 6 rates; 2 data sets; 3 seeds
    assert len(cells) == (1 + 2 * 2 * 6) * 2 * 3
    assert len({cell.name for cell in cells}) == len(cells)
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
    assert {noise.rate for noise in settings.noises} == {0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75}


def test_rate_zero_is_one_cell_and_only_if_asked_for() -> None:
    kinds, protocols = ("symmetric", "asymmetric"), ("global", "per_class")
    assert planted_noises((0.0,), kinds, protocols) == (Noise("clean"),)
    assert [noise.name for noise in planted_noises((0.375,), kinds, protocols)] == [
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
    longer = Recipe.of("coop", epochs=200, augment_views=0)
    assert (longer.epochs, longer.augment_views, longer.lr) == (200, 0, coop.lr)


def test_all_options_reach_the_settings() -> None:
    words = (
        "--data a/x b --backbone RN50/openai --rates 0 0.5 0.5 --kinds symmetric --protocols global"
        " --shots 1 2 --seeds 0 --methods dspt ce --recipe coop --epochs 200 --augment-views 2"
        " --logistic-c 3 --jobs 5 --device cpu --precision float32 --fresh"
    )
    options = parse([*words.split(), "--default-config", '{"epochs": 7}'])
    settings = options.settings
    assert [noise.name for noise in settings.noises] == ["clean", "global-symmetric-50"]
    assert (settings.shots, settings.seeds) == ((1, 2), (0,))
    assert settings.methods == settings.losses == ("ce", "dspt")
    assert (settings.recipe.epochs, settings.train_views) == (200, 2)
    assert (settings.logistic_c, settings.tune_config(4).epochs) == (3, 7)
    assert settings.tune_config(4).seed == 4
    assert (options.jobs, options.fresh) == (5, True)


def test_the_command_can_be_run_again_and_names_no_folder_of_this_machine() -> None:
    command = parse(
        "--data /home/me/pets --backbone ViT-B-16@/home/me/w.pt --rates 0.25 --out /home/me/out "
        "--jobs 3 --default-config {}".replace("{}", '{"epochs":2}').split()
    ).command
    assert command == (
        "python -m benchmarks.noise_robustness --data pets --backbone ViT-B-16@w.pt "
        "--rates 0.25 --default-config '{\"epochs\": 2}'"
    )


def test_human_labels_take_the_place_of_flips() -> None:
    settings = parse(["--data", "a", "--given-labels", "h.csv"]).settings
    assert [noise.name for noise in settings.noises] == ["clean", "human-label"]
    named = parse(["--data", "a", "--given-labels", "h.csv", "--given-column", "aggre", "worse"])
    assert [n.name for n in named.settings.noises] == ["clean", "human-aggre", "human-worse"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rates", "25"], "25 is not a share between 0 and 1"),
        (["--shots", "0"], "0 is below 1"),
        (["--seeds", "-1"], "-1 is below 0"),
        (["--logistic-c", "0"], "0 is not above 0"),
        (["--methods", "svm"], "invalid choice: 'svm'"),
        (["--default-config", "[]"], "should be a JSON object"),
        (["--default-config", '{"epoch": 1}'], "did you mean epochs"),
        (["b", "--given-labels", "h.csv"], "give one --data"),
    ],
)
def test_options_at_fault_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--data", "a", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
