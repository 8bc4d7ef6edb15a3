"""`dependencies.py PYPROJECT EXTRA...`: print the requirements of a project and of its extras."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    path, *extras = sys.argv[1:]
    project = tomllib.loads(Path(path).read_text())["project"]
    requirements = list(project["dependencies"])
    for extra in extras:
        requirements += project["optional-dependencies"][extra]
    # Installed from the client/ folder, not from a package index.
    requirements = [line for line in requirements if not line.startswith("dspt-client")]
    sys.stdout.write("\n".join(requirements) + "\n")
