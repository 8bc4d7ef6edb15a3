"""The folders of a data set as a tree, to find out which of them are classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

MAX_LEVELS = 6
"""Levels of the tree; deeper folders belong to their parents. Bounds the memory."""

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff",
    ".heic", ".heif", ".avif",
)  # fmt: skip
_OTHER_SUFFIXES = """
    txt csv tsv json jsonl ndjson xml yaml yml md rst html htm pdf doc docx xls xlsx ods odt rtf
    py ipynb r m mat npy npz feather h5 hdf5 pkl pickle pt pth onnx parquet arrow log ini cfg toml
    sh bat zip tar gz tgz 7z rar bz2 xz mp4 mov avi mkv webm mp3 wav svg ai psd db sqlite names
    """
_NO_IMAGES = frozenset(_OTHER_SUFFIXES.split())


def may_be_image(path: str) -> bool:
    """Return whether a file may be an image, by its name; without a suffix it may."""
    name = path.rpartition("/")[2].lower()
    return name.rpartition(".")[2] not in _NO_IMAGES if "." in name else name != "readme"


class Folder:
    """A folder, its subfolders and the number of files that may be images."""

    __slots__ = ("_folders", "images", "name", "path", "total")

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self.images = 0
        """Directly in this folder."""
        self.total = 0
        """In this folder and below."""
        self._folders: dict[str, Folder] | None = None

    def __iter__(self) -> Iterator[Folder]:
        """Iterate over the subfolders with images, in the order of their first file."""
        return (f for f in (self._folders or {}).values() if f.total)

    @property
    def empty_folders(self) -> list[Folder]:
        """Subfolders without images."""
        return [f for f in (self._folders or {}).values() if not f.total]

    @property
    def nested(self) -> bool:
        """Whether a subfolder has images."""
        return any(True for _ in self)

    def child(self, name: str) -> Folder:
        """Return the subfolder `name`, created if missing."""
        if self._folders is None:
            self._folders = {}
        if name not in self._folders:
            path = f"{self.path}/{name}" if self.path else name
            self._folders[name] = Folder(name, path)
        return self._folders[name]

    def inner(self, stop: Iterable[str] = ()) -> Folder:
        """Return the first folder below that does more than wrap a single folder of folders.

        stop: names of folders that are never wrappers.
        """
        here, known = self, set(stop)
        while not here.images:
            inside = list(here)
            if len(inside) != 1 or not inside[0].nested or inside[0].name in known:
                break
            here = inside[0]
        return here


def folder_tree(files: Sequence[str], folders: Sequence[str]) -> Folder:
    """Return the root of the tree of `files` and (perhaps empty) `folders`."""
    root = Folder("", "")
    for path in files:
        found = may_be_image(path)
        here = root
        here.total += found
        for name in path.split("/")[:-1][:MAX_LEVELS]:
            here = here.child(name)
            here.total += found
        here.images += found
    for path in folders:
        here = root
        for name in path.split("/")[:MAX_LEVELS]:
            here = here.child(name)
    return root
