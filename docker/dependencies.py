"""`dependencies.py PYPROJECT EXTRA`: print the requirements of a project and of one extra."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    path, extra = sys.argv[1:]
    project = tomllib.loads(Path(path).read_text())["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"][extra]]
    sys.stdout.write("\n".join(requirements) + "\n")
