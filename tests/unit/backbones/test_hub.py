"""Weights from the hub: its cache without a network, a download, a hub that does not answer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import open_clip
import pytest
from published import CLIP_CFG, build, small_config, write_folder, write_tokenizer

from dspt.backbones import hub, list_backbones, load_backbone, pins
from dspt.backbones.pins import Pin
from dspt.backbones.sources import resolve
from dspt.errors import WeightsUnavailable


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for architectures to put in the place of those of open_clip; see `loaded`."""
    for name in ("_MODEL_CONFIGS", "_MODEL_CONFIG_PATHS"):
        monkeypatch.setattr(open_clip.factory, name, getattr(open_clip.factory, name).copy())
    monkeypatch.setattr(hub, "CONNECT_SECONDS", 2.0)
    folder = tmp_path / "configs"
    folder.mkdir()
    return folder


def use_hub(monkeypatch: pytest.MonkeyPatch, cache: Path, endpoint: str | None = None) -> None:
    """Set what the hub's client reads from the environment when it is imported."""
    constants = hub.constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    if endpoint is None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        return
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


def loaded(configs: Path, *names: str) -> dict[str, Any]:
    """What becomes of loading `names`, with the architectures in `configs`."""
    open_clip.add_model_config(configs)
    found: dict[str, Any] = {}
    for name in names:
        start = time.monotonic()
        try:
            backbone = load_backbone(name)
            found[name] = {"digest": backbone.digest, "activation": backbone.activation}
        except WeightsUnavailable as error:
            found[name] = {"message": error.message, "param": error.param}
        found[name]["seconds"] = time.monotonic() - start
    return found


def present() -> list[str]:
    return [b.name for b in list_backbones() if b.weights == "present"]


def cache_in(hub_cache: Path, repo: str, files: dict[str, Path]) -> None:
    """Lay files out as the hub's client does: blobs, snapshots, refs."""
    root = hub_cache / f"models--{repo.replace('/', '--')}"
    commit = "0" * 40
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    (root / "blobs").mkdir()
    (root / "snapshots" / commit).mkdir(parents=True)
    for number, (name, path) in enumerate(files.items()):
        blob = root / "blobs" / f"{number:064x}"
        blob.write_bytes(path.read_bytes())
        (root / "snapshots" / commit / name).symlink_to(f"../../blobs/{blob.name}")


def test_tags_load_from_the_hubs_cache_without_a_network(
    configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (configs / "ViT-B-16.json").write_text(json.dumps(CLIP_CFG))
    siglip = small_config("ViT-B-16-SigLIP")
    (configs / "ViT-B-16-SigLIP.json").write_text(json.dumps(siglip))
    quick = CLIP_CFG | {"quick_gelu": True}
    openai = write_folder(tmp_path / "openai", quick, build(quick))
    webli = write_folder(
        tmp_path / "webli", siglip, build(siglip), filename="open_clip_pytorch_model.bin"
    )
    write_tokenizer(webli)
    weights = openai / "open_clip_model.safetensors"
    cache_in(tmp_path / "hub", "timm/vit_base_patch16_clip_224.openai", {weights.name: weights})
    cache_in(
        tmp_path / "hub",
        "timm/ViT-B-16-SigLIP",
        {f.name: f for f in webli.iterdir() if f.name != "open_clip_config.json"},
    )
    use_hub(monkeypatch, tmp_path / "hub")
    found = loaded(
        configs,
        "ViT-B-16/openai",
        f"ViT-B-16/openai@{weights}",
        f"local-dir:{openai}",
        "ViT-B-16-SigLIP/webli",
        "ViT-L-14/openai",
    )
    digests = {found[name]["digest"] for name in list(found)[:3]}
    assert digests == {load_backbone(f"local-dir:{openai}").digest}
    assert found["ViT-B-16/openai"]["activation"] == "quickgelu"
    assert "digest" in found["ViT-B-16-SigLIP/webli"]
    assert present() == ["builtin", "ViT-B-16/openai", "ViT-B-16-SigLIP/webli"]
    missing = found["ViT-L-14/openai"]
    assert missing["param"] == "backbone"
    for advice in (
        "HF_HUB_OFFLINE is set",
        "hf download timm/vit_large_patch14_clip_224.openai",
        str(tmp_path / "hub"),
        "HF_HOME",
        "local-dir:",
        "builtin",
    ):
        assert advice in missing["message"]


def test_an_unreachable_hub_is_reported_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(monkeypatch, tmp_path / "empty", "http://127.0.0.1:1")
    monkeypatch.setattr(hub, "CONNECT_SECONDS", 2.0)
    for name in ("ViT-B-16/openai", "ViT-B-16-SigLIP/webli"):
        start = time.monotonic()
        with pytest.raises(
            WeightsUnavailable, match=r"cannot be downloaded from http://127\.0\.0\.1:1.*refused"
        ):
            load_backbone(name)
        assert time.monotonic() - start < 50
    assert present() == ["builtin"]


class FakeHub(BaseHTTPRequestHandler):
    """Answers as the hub does: a pickle without safetensors, a gated repository, and silence."""

    weights = b""
    over = threading.Event()

    def do_HEAD(self) -> None:
        self.answer(send=False)

    def do_GET(self) -> None:
        self.answer(send=True)

    def answer(self, *, send: bool) -> None:
        if "patch32" in self.path:
            self.over.wait(60)
            self.close_connection = True
        elif "resnet50" in self.path:
            self.reply(403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "sign the licence"})
        elif not self.path.endswith("open_clip_pytorch_model.bin"):
            self.reply(404, {"X-Error-Code": "EntryNotFound"})
        else:
            self.reply(200, {"X-Repo-Commit": "1" * 40, "ETag": '"abc"'}, self.weights, send)

    def reply(
        self, status: int, headers: dict[str, str], body: bytes = b"", send: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if send:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal."""


@contextmanager
def fake_hub(weights: bytes) -> Iterator[str]:
    FakeHub.weights = weights
    FakeHub.over.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeHub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            FakeHub.over.set()
            server.shutdown()
            thread.join()


def test_a_download_and_a_hub_that_refuses_or_is_silent(
    configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (configs / "ViT-B-16.json").write_text(json.dumps(CLIP_CFG))
    quick = CLIP_CFG | {"quick_gelu": True}
    folder = write_folder(
        tmp_path / "model", quick, build(quick), filename="open_clip_pytorch_model.bin"
    )
    cache = tmp_path / "home"
    weights = (folder / "open_clip_pytorch_model.bin").read_bytes()
    with fake_hub(weights) as endpoint:
        use_hub(monkeypatch, cache, endpoint)
        found = loaded(configs, "ViT-B-16/openai", "RN50/openai")
        monkeypatch.setattr(hub, "CONNECT_SECONDS", 0.2)
        found |= loaded(configs, "ViT-B-32/openai")  # is silent
    assert found["ViT-B-16/openai"]["digest"] == load_backbone(f"local-dir:{folder}").digest
    assert "403" in found["RN50/openai"]["message"]
    assert "timed out" in found["ViT-B-32/openai"]["message"]
    assert found["ViT-B-32/openai"]["seconds"] < 50
    # What was downloaded is found again without the hub.
    use_hub(monkeypatch, cache)
    file = resolve("ViT-B-16/openai").weights.fetch()
    assert file.read_bytes() == weights
    pin = json.loads((file.parents[2] / "dspt.json").read_text())[file.name]
    assert pin == {"revision": "1" * 40, "sha256": sha256(weights).hexdigest()}
    assert present() == ["builtin", "ViT-B-16/openai"]


def test_a_file_of_the_hub_stays_the_one_that_was_used_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    given = tmp_path / "w.bin"
    given.write_bytes(b"first")
    cache_in(tmp_path / "hub", "a/b", {"w.bin": given})
    cache = tmp_path / "hub" / "models--a--b"
    first = hub.fetch("a/b", ["other.bin", "w.bin"])
    pinned = pins.pin_of("a/b", "w.bin", cache)
    assert pinned == Pin("0" * 40, sha256(b"first").hexdigest())

    # The repository moves on, and both versions are in the cache.
    newer = cache / "snapshots" / ("1" * 40)
    newer.mkdir()
    (newer / "w.bin").write_bytes(b"second")
    (cache / "refs" / "main").write_text(newer.name)
    assert hub.fetch("a/b", ["w.bin"]) == first

    # Only the newer one is left; then it has the same content after all.
    first.unlink()
    with pytest.raises(WeightsUnavailable) as caught:
        hub.fetch("a/b", ["w.bin"])
    for part in (str(newer / "w.bin"), sha256(b"second").hexdigest(), pinned.sha256, "dspt.json"):
        assert part in caught.value.message
    (newer / "w.bin").write_bytes(b"first")
    assert hub.fetch("a/b", ["w.bin"]) == newer / "w.bin"

    # What this version knows beforehand counts more than what was recorded.
    known = {("a/b", "w.bin"): Pin(newer.name, sha256(b"third").hexdigest())}
    monkeypatch.setattr(pins, "PINNED", known)
    with pytest.raises(WeightsUnavailable, match="install a version of DSPT"):
        hub.fetch("a/b", ["w.bin"])
    monkeypatch.undo()

    # A damaged record, and a cache that may not be written.
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (cache / "dspt.json").write_text("{")
    assert hub.fetch("a/b", ["w.bin"])
    assert pins.pin_of("a/b", "w.bin", cache) == Pin(newer.name, sha256(b"first").hexdigest())
    (cache / "dspt.json").unlink()
    monkeypatch.setattr(pins, "atomic_write", _read_only)
    assert hub.fetch("a/b", ["w.bin"])


def _read_only(_path: Path, _data: bytes) -> None:
    raise OSError("read-only file system")
