"""What is sent: folders as zips, images in as many requests as they take."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import httpx
import pytest
from dspt_client import NotFound, NotSent, PayloadTooLarge, Unprocessable
from dspt_client._packing import zip_file

from tests.unit.client.server import JOB_ID, Json, client_of, job, problem


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    for name in ("cat/1.png", "cat/10.png", "dog/2.png", ".git/config", "dog/.DS_Store"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(name.encode() * 100)
    (photos / "empty").mkdir()
    return photos


def test_a_folder_is_zipped_as_the_tuner_reads_it(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    with zip_file(folder, lambda *step: told.append(step)) as (name, file):
        assert name == "photos.zip"
        data = file.read()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert set(archive.namelist()) == {
            "cat/", "dog/", "empty/", "cat/1.png", "cat/10.png", "dog/2.png",
        }  # fmt: skip
        assert archive.read("dog/2.png") == b"dog/2.png" * 100
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert told == [("packing", number, 3) for number in (1, 2, 3)]
    with zip_file(folder) as (_, file):  # the same photos make the same zip, so the same data set
        assert file.read() == data
    assert file.closed


def test_hidden_files_are_not_sent(folder: Path) -> None:
    (folder / "cat/.DS_Store").write_bytes(b"x")
    (folder / ".cache").mkdir()
    (folder / ".cache/one.png").write_bytes(b"x")
    with zip_file(folder) as (_, file), zipfile.ZipFile(file) as archive:
        assert not [name for name in archive.namelist() if "." in name.replace(".png", "")]


def test_links_out_of_the_folder_are_not_sent_and_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    (folder / "cat/link.png").symlink_to(tmp_path / "secret.png")
    with pytest.warns(UserWarning, match=r"not sent.*cat/link\.png"), zip_file(folder) as (_, file):
        assert b"secret" not in file.read()


def test_a_missing_file_is_an_error_before_anything_is_sent(tmp_path: Path) -> None:
    client, script = client_of()
    with pytest.raises(FileNotFoundError):
        client.jobs.create(tmp_path / "nothing.zip")
    assert not script.requests


def test_a_job_with_all_that_can_be_said_of_it(folder: Path) -> None:
    client, script = client_of(httpx.Response(204), httpx.Response(202, json=job("queued")))
    told: list[tuple[str, int, int]] = []
    client.jobs.create(
        folder,
        config={"epochs": 2},
        class_names={"cat": "tabby"},
        name="pets",
        on_progress=lambda *step: told.append(step),
    )
    body = script.requests[1].content
    for part in (b'{"epochs": 2}', b'{"cat": "tabby"}', b"pets", b'filename="photos.zip"'):
        assert part in body
    stage, sent, total = told[-1]
    assert (stage, sent) == ("sending", total)
    assert total > 2000


def test_settings_are_checked_before_photos_are_sent(folder: Path) -> None:
    client, script = client_of(problem(422, "unknown_backbone"))
    with pytest.raises(Unprocessable):
        client.jobs.create(folder, config={"backbone": "nosuch"})
    (request,) = script.requests
    assert request.url.path == "/jobs/check"
    assert request.content == b"config=%7B%22backbone%22%3A+%22nosuch%22%7D"

    # A service of an earlier version has no such call; it checks the settings with the photos.
    old = problem(405, "method_not_allowed")
    client, script = client_of(old, httpx.Response(202, json=job("queued")))
    client.jobs.create(folder, name="pets")
    assert [request.url.path for request in script.requests] == ["/jobs/check", "/jobs"]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([], "contains no files"),
        ([".DS_Store", "__MACOSX/cat/1.png"], "contains no files"),
        (["1.png", "2.png"], "directly in it, in no class folder"),
        (["cat/1.png", "cat/2.png", "notes.txt"], "files of a single class"),
        (["photos/cat/1.png"], "files of a single class"),
        (["train/cat/1.png", "test/cat/2.png"], "files of a single class"),
        (["photos/train/cat/1.png", "photos/Validation/cat/2.png"], "files of a single class"),
        (["a/b/cat/train/1.png", "a/b/cat/test/2.png"], "files of a single class"),
    ],
)
def test_photos_that_cannot_be_used_are_not_sent(
    tmp_path: Path, files: list[str], why: str
) -> None:
    folder, archive = tmp_path / "photos", tmp_path / "photos.zip"
    folder.mkdir()
    with zipfile.ZipFile(archive, "w") as opened:
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x")
            opened.writestr(name, b"x")
    client, script = client_of()
    for data in (folder, archive):
        with pytest.raises(NotSent, match=re.escape(f"{data}: ") + f".*{why}"):
            client.jobs.create(data, name="pets")
    assert not script.requests


@pytest.mark.parametrize(
    "files",
    [
        ["cat/1.png", "dog/1.png"],
        ["photos/cat/1.png", "photos/dog/a/1.png"],
        ["train/cat/1.png", "train/dog/1.png", "test/cat/1.png"],
        ["photos/train/cat/1.png", "photos/train/dog/1.png", "photos/test/cat/1.png"],
        ["train/1.png", "bus/1.png"],  # a class of trains
        ["animals/a/1.png", "animals/b/1.png"],
        ["labels.csv", "images/1.png"],
        ["photos/Labels.csv", "photos/1.png"],
        ["metadata.jsonl", "images/1.png"],
        ["a/b/cat/train/1.png", "a/b/dog/test/2.png"],
        ["a/b/c/d/cat/1.png", "a/b/c/d/dog/1.png"],
        ["x/x/x/train/cat/1.png", "x/x/x/train/dog/1.png", "x/x/x/test/cat/1.png"],
        ["cat\\1.png", "dog\\1.png"],
    ],
)
def test_photos_that_may_be_used_are_sent(tmp_path: Path, files: list[str]) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in files:
            opened.writestr(name, b"x")
    client, script = client_of(httpx.Response(202, json=job("queued")))
    client.jobs.create(archive)
    assert len(script.requests) == 1


def test_a_file_that_is_no_zip_is_not_sent(tmp_path: Path) -> None:
    client, script = client_of()
    (tmp_path / "photos.tar").write_bytes(b"not a zip")
    with pytest.raises(NotSent, match=r"photos\.tar: not a zip file\. Pass a zip or a folder"):
        client.jobs.create(tmp_path / "photos.tar")
    assert not script.requests


def test_a_data_set_that_is_there_is_not_sent_again() -> None:
    client, script = client_of(httpx.Response(202, json=job("queued")))
    dataset_id = "ds_" + "0" * 26
    client.jobs.create(dataset_id)
    assert script.requests[0].content == f"dataset_id={dataset_id}".encode()


def test_corrections_as_values_or_as_a_table(tmp_path: Path) -> None:
    client, script = client_of(*[httpx.Response(202, json=job("queued"))] * 5)
    client.jobs.correct(JOB_ID, relabel={"a.png": "dog"}, drop=["b.png"])
    (tmp_path / "t.csv").write_bytes(b"file,correct_label\n")
    client.jobs.correct(JOB_ID, csv=tmp_path / "t.csv")
    client.jobs.correct(JOB_ID, drop=["b.png"], name="two")
    client.jobs.correct(JOB_ID, relabel={"a.png": "fox"}, keep=["c.png"], new_classes=["fox"])
    client.jobs.correct(JOB_ID, csv=tmp_path / "t.csv", name="two & three")
    first, second, *named = script.requests
    assert json.loads(named.pop(1).content) == {
        "relabel": {"a.png": "fox"},
        "drop": [],
        "keep": ["c.png"],
        "new_classes": {"fox": None},
    }
    assert json.loads(named[0].content)["name"] == "two"
    assert named[1].url.params["name"] == "two & three"
    assert first.content == b'{"relabel":{"a.png":"dog"},"drop":["b.png"]}'
    assert (second.content, second.headers["Content-Type"]) == (
        b"file,correct_label\n",
        "text/csv",
    )
    assert all(request.headers["Idempotency-Key"] for request in script.requests)
    with pytest.raises(ValueError, match="pass one of csv"):
        client.jobs.correct(JOB_ID, drop=["b.png"], csv=tmp_path / "t.csv")


def predictions(request: httpx.Request, most: int = 64) -> httpx.Response:
    """Each image's label is its content."""
    parts = re.findall(rb'filename="([^"]*)"\r\n.*?\r\n\r\n(.*?)\r\n--', request.content, re.DOTALL)
    if len(parts) > most:
        return problem(413, "too_many_images")
    model = re.findall(rb'name="model"\r\n\r\n(\w+)\r\n', request.content)[0].decode()
    found: list[Json] = [{"file": f.decode(), "label": content.decode()} for f, content in parts]
    id_ = {"newest": "mdl_1"}.get(model, model)
    return httpx.Response(200, json={"model": id_, "served": "tuned", "predictions": found})


@pytest.mark.parametrize(("most", "sizes"), [(64, [64, 64, 22]), (20, [64, 32, *[16] * 9, 6])])
def test_many_images_are_sent_in_several_requests(most: int, sizes: list[int]) -> None:
    client, script = client_of()
    script.handler = lambda request: (
        script.requests.append(request) or predictions(request, most)  # type: ignore[func-returns-value]
    )
    contents = [b"%d" % number for number in range(150)]
    answer = client.predict("newest", iter(contents))
    assert [found.label for found in answer.predictions] == [c.decode() for c in contents]
    assert answer.model == "mdl_1"
    assert [request.content.count(b"filename=") for request in script.requests] == sizes
    # Once the model behind the name is known, all further requests name that model.
    assert [b"newest" in request.content for request in script.requests[-2:]] == [False, False]


def test_what_is_asked_for_is_sent_and_kept_by_older_services() -> None:
    """One that knows nothing of `reject_below` gives a label all the same."""
    found = [{"file": "1", "label": "cat", "score": score} for score in (0.4, 0.6)]
    body = {"model": "mdl_1", "served": "tuned", "predictions": found}
    client, script = client_of(*[httpx.Response(200, json=body)] * 2)
    told: list[tuple[str, int, int]] = []
    asked = {"zero_shot": True, "reject_below": 0.5, "on_progress": lambda *step: told.append(step)}
    answer = client.predict("m", [b"1", b"2"], **asked)  # type: ignore[arg-type]
    assert [(p.label, p.rejected) for p in answer.predictions] == [(None, True), ("cat", None)]
    assert told == [("classifying", 2, 2)]
    client.predict("m", iter([b"1", b"2"]))
    first, second = (request.content for request in script.requests)
    for field, value in ((b"zero_shot", b"true"), (b"reject_below", b"0.5")):
        assert b'name="%b"\r\n\r\n%b\r\n' % (field, value) in first
        assert field not in second


def test_images_may_be_paths_bytes_and_open_files(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    path.write_bytes(b"1")
    client, script = client_of()
    script.handler = predictions
    with path.open("rb") as file:
        images = [path, str(path), b"2", io.BytesIO(b"3"), file]
        answer = client.predict("mdl_1", images)
    assert [(p.file, p.label) for p in answer.predictions] == [
        ("one.png", "1"),
        ("one.png", "1"),
        ("image 2", "2"),
        ("image 3", "3"),
        ("one.png", "1"),
    ]
    assert client.predict("mdl_1", b"alone").predictions[0].label == "alone"


def test_an_image_of_another_kind_is_refused() -> None:
    client, _ = client_of()
    with pytest.raises(TypeError, match="image 1 is of type object; pass paths, bytes, or files"):
        client.predict("mdl_1", [b"1", object()])


def test_large_images_go_in_requests_that_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dspt_client._predict._MOST_BYTES", 10)
    client, script = client_of()
    script.handler = lambda request: (
        script.requests.append(request) or predictions(request)  # type: ignore[func-returns-value]
    )
    client.predict("mdl_1", [b"123456"] * 5)
    assert [request.content.count(b"filename=") for request in script.requests] == [2, 2, 1]


def test_an_image_that_is_too_large_alone_is_refused() -> None:
    client, _ = client_of(*[problem(413, "payload_too_large")] * 2)
    with pytest.raises(PayloadTooLarge):
        client.predict("mdl_1", [b"1", b"2"])
    client, _ = client_of(problem(422, "invalid_request"))
    with pytest.raises(Unprocessable):
        client.predict("mdl_1", [])


def test_a_download_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    good = httpx.Response(200, content=b"model", headers={"ETag": '"' + "0" * 64 + '"'})
    client, _ = client_of(good, problem(404, "model_not_found"))
    with pytest.raises(Exception, match="was damaged"):
        client.models.download("mdl_1", tmp_path)
    with pytest.raises(NotFound):
        client.models.download("mdl_1", tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []
