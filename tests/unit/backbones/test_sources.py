"""What a backbone's name means, and what an unknown one is answered."""

from __future__ import annotations

import open_clip
import pytest

from dspt.backbones import load_backbone
from dspt.backbones.architectures import architectures, check_tag, published_tags
from dspt.backbones.sources import resolve
from dspt.errors import BackboneError, UnknownBackbone


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-16", "ViT-B-16/TAG, with TAG one of openai, "),
        ("ViT-B/16", "ViT-B-16/TAG, with TAG one of openai, "),
        ("ViT-S-16", "ViT-S-16@/path/to/weights"),
        ("vit-b16/openai", "did you mean .*ViT-B-16"),
        ("ViT-B-16/opnai", "did you mean ViT-B-16/openai"),
        ("ViT-B-16/zzz", "Available: openai, "),
        ("ViT-S-16/openai", "publishes no weights for ViT-S-16"),
        ("ViT-B-32-quickgelu/laion2b_s34b_b79k", "trained with GELU.*use ViT-B-32/laion2b"),
        ("bultin", "did you mean builtin"),
        ("", "unknown backbone"),
        ("/", "unknown backbone"),
    ],
)
def test_unknown_names_say_what_to_write(name: str, message: str) -> None:
    with pytest.raises(UnknownBackbone, match=message):
        load_backbone(name)


def test_architectures_are_listed_without_open_clip() -> None:
    assert architectures() == set(open_clip.list_models())


def test_tags_are_those_of_open_clip() -> None:
    published = open_clip.list_pretrained()
    found = {(name, tag) for name, tags in published_tags().items() for tag in tags}
    assert found == {each for each in published if not each[0].endswith("-quickgelu")}
    for architecture, tag in published:
        check_tag(architecture, tag)
    check_tag("ViT-S-16", "anything")  # it has no published weights; the program may register some
    with pytest.raises(UnknownBackbone, match="did you mean ViT-B-16-quickgelu/openai"):
        check_tag("ViT-B-16-quickgelu", "opnai")


@pytest.mark.parametrize("name", ["ViT-B-16/openai", "ViT-B/16/openai"])
def test_slashes_as_in_the_papers(name: str) -> None:
    assert resolve(name).weights.repo == "timm/vit_base_patch16_clip_224.openai"


@pytest.mark.parametrize(
    ("name", "quick"),
    [
        ("ViT-B-16/openai", True),
        ("ViT-B-16-quickgelu/openai", True),
        ("RN50/openai", True),
        ("RN50/cc12m", True),
        ("ViT-B-32/laion400m_e32", True),
        ("ViT-B-16/laion400m_e32", False),
        ("ViT-B-16/metaclip_400m", True),
        ("ViT-B-16/dfn2b", True),
        ("ViT-H-14-378-quickgelu/dfn5b", True),
        ("ViT-B-32/laion2b_s34b_b79k", False),
        ("MobileCLIP-S2/datacompdr", False),
        ("ViT-B-16-SigLIP/webli", False),
    ],
)
def test_the_activation_is_the_weights(name: str, quick: bool) -> None:
    assert resolve(name).quick_gelu is quick


def test_every_published_tag_resolves_to_its_own_activation_or_is_refused() -> None:
    refused = set()
    for architecture, tag in open_clip.list_pretrained():
        try:
            source = resolve(f"{architecture}/{tag}")
        except BackboneError:
            refused.add(architecture)
            continue
        published = open_clip.get_pretrained_cfg(architecture, tag)
        assert source.quick_gelu is bool(published.get("quick_gelu"))
        assert source.preprocess["mean"] == published["mean"]
        assert source.weights.repo
    assert refused == {
        "coca_ViT-B-32",
        "coca_ViT-L-14",
        "nllb-clip-base",
        "nllb-clip-base-siglip",
        "nllb-clip-large",
        "nllb-clip-large-siglip",
        "roberta-ViT-B-32",
        "xlm-roberta-base-ViT-B-32",
        "xlm-roberta-large-ViT-H-14",
    }


def test_models_whose_prompt_cannot_be_tuned_are_refused_before_any_download() -> None:
    with pytest.raises(BackboneError, match="Hugging Face text encoder"):
        load_backbone("roberta-ViT-B-32/laion2b_s12b_b32k")
    with pytest.raises(BackboneError, match="CoCa"):
        load_backbone("coca_ViT-B-32/laion2b_s13b_b90k")
