"""Tokenizers: CLIP's byte-pair vocabulary, and vocabularies in the `tokenizers` format."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from open_clip.tokenizer import SimpleTokenizer, get_clean_fn

from dspt.errors import BackboneError


class OpenClipTokenizer:
    """CLIP's lower-casing byte-pair tokenizer: [start] words [end], padded with 0.

    open_clip cleans the text (mojibake, HTML entities, white space, case).
    """

    pad_id = 0

    def __init__(self, tokenizer: SimpleTokenizer | None = None) -> None:
        self._tokenizer = _clip_vocabulary() if tokenizer is None else tokenizer
        self.start: tuple[int, ...] = (int(self._tokenizer.sot_token_id),)
        self.end: tuple[int, ...] = (int(self._tokenizer.eot_token_id),)

    def encode(self, text: str) -> list[int]:
        """Return the ids of the words, without start and end."""
        return [int(i) for i in self._tokenizer.encode(text)]


@cache
def _clip_vocabulary() -> SimpleTokenizer:
    """Return CLIP's own vocabulary, read once per process: that takes half a second."""
    return SimpleTokenizer()


class HubTokenizer:
    """A vocabulary from the Hugging Face hub (SigLIP, CLIPA): `tokenizer.json`.

    Returns the same ids as open_clip's `HFTokenizer`, but needs only the `tokenizers` library.

    folder: contains `tokenizer.json` and `tokenizer_config.json`.
    clean: open_clip's name of the text cleaning (`canonicalize`, `lower`, `whitespace`).
    strip_sep_token: replace the separator by 0, as in the training of CLIPA.

    Raises BackboneError if a file is missing or damaged.
    """

    def __init__(
        self, folder: Path, *, clean: str = "whitespace", strip_sep_token: bool = False
    ) -> None:
        from tokenizers import Tokenizer  # imported here because CLIP does not need it

        settings = _read_settings(folder)
        try:
            self._tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text("utf-8"))
        except FileNotFoundError:
            raise BackboneError(
                f"{folder} has no tokenizer.json: copy the tokenizer files of the model's "
                "repository into it"
            ) from None
        except Exception as error:  # `tokenizers` raises bare Exception
            raise BackboneError(f"{folder / 'tokenizer.json'} cannot be read: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._clean = get_clean_fn(clean)
        self.pad_id: int = self._id_of(settings, "pad_token", folder)
        start, end = self._template()
        # Gemma's vocabulary (SigLIP 2) has start and end in its settings, not in its template.
        if "add_bos_token" in settings:
            start = (self._id_of(settings, "bos_token", folder),) * bool(settings["add_bos_token"])
        if "add_eos_token" in settings:
            end = (self._id_of(settings, "eos_token", folder),) * bool(settings["add_eos_token"])
        if strip_sep_token:
            separator = self._id_of(settings, "sep_token", folder)
            end = tuple(0 if i == separator else i for i in end)
        self.start: tuple[int, ...] = start
        self.end: tuple[int, ...] = end

    def encode(self, text: str) -> list[int]:
        """Return the ids of the words, without start and end."""
        return list(self._tokenizer.encode(self._clean(text), add_special_tokens=False).ids)

    def _id_of(self, settings: dict[str, Any], key: str, folder: Path) -> int:
        token = settings.get(key)
        text = token.get("content") if isinstance(token, dict) else token
        found = self._tokenizer.token_to_id(text) if isinstance(text, str) else None
        if found is None:
            raise BackboneError(
                f"{folder / 'tokenizer_config.json'} has no {key} that is in the vocabulary"
            )
        return int(found)

    def _template(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ids that the template of the vocabulary puts before and after the words."""
        bare = self._tokenizer.encode("a", add_special_tokens=False).ids
        full = self._tokenizer.encode("a", add_special_tokens=True).ids
        n = len(bare)
        at = next(i for i in range(len(full) - n + 1) if full[i : i + n] == bare)
        return tuple(full[:at]), tuple(full[at + n :])


def _read_settings(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            settings |= json.loads(path.read_text("utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
            raise BackboneError(f"{path} is not valid JSON: {error}") from error
    return settings
