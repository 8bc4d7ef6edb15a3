"""Ids against open_clip's own tokenizers, and vocabularies in the `tokenizers` format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from dspt.backbones.tokenizer import HubTokenizer, OpenClipTokenizer
from dspt.errors import BackboneError

WORDS = {"<pad>": 0, "</s>": 1, "<unk>": 2, "<s>": 3, "a": 4, "photo": 5, "of": 6, "dog": 7}


def write_tokenizer(
    folder: Path, *, template: str = "$A </s>", settings: dict[str, Any] | None = None
) -> Path:
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("</s>", 1), ("<s>", 3)]
    )
    # Published files may carry both: neither may leak into single prompts.
    tokenizer.enable_padding(length=64, pad_id=1, pad_token="</s>")
    tokenizer.enable_truncation(max_length=3)
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"pad_token": "</s>"} | (settings or {}))
    )
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "a photo of a dog.",
        "  A Photo\tof a DOG ",
        "AT&amp;T caf\u00e9",
        "schÃ¶n",
        "3 o'clock, they're 1234",
        "\u6f22\u5b57 and emoji \U0001f600",
        "",
    ],
)
def test_clip_ids_are_open_clips(text: str) -> None:
    tokenizer = OpenClipTokenizer()
    ids = [*tokenizer.start, *tokenizer.encode(text), *tokenizer.end]
    theirs = open_clip.get_tokenizer("ViT-B-32")([text])[0]
    assert theirs[: len(ids)].tolist() == ids
    assert theirs[len(ids) :].unique().tolist() == [tokenizer.pad_id]


def test_clip_start_and_end() -> None:
    tokenizer = OpenClipTokenizer()
    assert (tokenizer.start, tokenizer.end) == ((49406,), (49407,))


def test_ids_are_never_cut() -> None:
    assert len(OpenClipTokenizer().encode("dog " * 200)) == 200


def test_siglip_style_vocabulary(tmp_path: Path) -> None:
    tokenizer = HubTokenizer(write_tokenizer(tmp_path), clean="canonicalize")
    assert tokenizer.start == ()
    assert tokenizer.end == (1,)
    assert tokenizer.pad_id == 1
    assert tokenizer.encode("A_photo, of a DOG!") == [4, 5, 6, 4, 7]
    assert tokenizer.encode("a zebra") == [4, 2]


def test_without_canonical_cleaning_case_and_punctuation_stay(tmp_path: Path) -> None:
    tokenizer = HubTokenizer(write_tokenizer(tmp_path))
    assert tokenizer.encode(" a  dog ") == [4, 7]
    assert tokenizer.encode("a DOG!") == [4, 2, 2]


def test_words_before_and_behind(tmp_path: Path) -> None:
    tokenizer = HubTokenizer(write_tokenizer(tmp_path, template="<s> $A </s>"))
    assert (tokenizer.start, tokenizer.end) == ((3,), (1,))


def test_settings_overrule_the_template(tmp_path: Path) -> None:
    settings = {
        "pad_token": {"content": "<pad>"},
        "add_bos_token": False,
        "add_eos_token": True,
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    tokenizer = HubTokenizer(write_tokenizer(tmp_path, template="<s> $A", settings=settings))
    assert (tokenizer.start, tokenizer.end, tokenizer.pad_id) == ((), (1,), 0)


def test_the_separator_is_blanked_for_clipa(tmp_path: Path) -> None:
    folder = write_tokenizer(
        tmp_path, template="<s> $A </s>", settings={"pad_token": "<pad>", "sep_token": "</s>"}
    )
    tokenizer = HubTokenizer(folder, strip_sep_token=True)
    assert (tokenizer.start, tokenizer.end, tokenizer.pad_id) == ((3,), (0,), 0)


def test_the_pad_token_may_stand_in_the_special_tokens_map(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path)
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "special_tokens_map.json").write_text('{"pad_token": "<pad>"}')
    assert HubTokenizer(folder).pad_id == 0


def test_a_missing_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"has no tokenizer\.json"):
        HubTokenizer(tmp_path)


def test_a_damaged_vocabulary_is_named(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path)
    (folder / "tokenizer.json").write_text('{"version": "1.0"')
    with pytest.raises(BackboneError, match=r"tokenizer\.json cannot be read"):
        HubTokenizer(folder)


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path)
    (folder / "tokenizer_config.json").write_text("[1")
    with pytest.raises(BackboneError, match=r"tokenizer_config\.json is not valid JSON"):
        HubTokenizer(folder)


def test_a_vocabulary_without_pad_token_is_refused(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path, settings={"pad_token": None})
    with pytest.raises(BackboneError, match="pad_token"):
        HubTokenizer(folder)
