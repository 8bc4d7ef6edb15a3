"""`python -m scripts.demo.photos`: the demo's photographs as files, to try the service on."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

from scripts.demo.data import make_demo_data


def main() -> int:
    """Write photos/, photos.zip and new/ into the folder that is named, or into demo/."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    data = make_demo_data()
    (folder / "new").mkdir(parents=True, exist_ok=True)
    (folder / "photos.zip").write_bytes(data.zip)
    with zipfile.ZipFile(io.BytesIO(data.zip)) as archive:
        archive.extractall(folder / "photos")
    for image in data.unseen:
        (folder / "new" / image.name).write_bytes(image.jpeg)
    print(
        f"{folder}/photos.zip and {folder}/photos: labelled photographs, {len(data.planted)} of "
        f"the labels wrong on purpose.\n{folder}/new: {len(data.unseen)} photographs to classify."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
