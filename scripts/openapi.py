"""`python -m scripts.openapi`: print the OpenAPI document, for the types of the page."""

from __future__ import annotations

import json
from pathlib import Path

from app.kit.settings import Settings
from app.main import create_app

if __name__ == "__main__":
    print(json.dumps(create_app(Settings(data_dir=Path("data"))).openapi()))
