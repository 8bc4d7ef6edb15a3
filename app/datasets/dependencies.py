"""What endpoints take from the application's state: open data sets and pictures."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from app.datasets.photos import PhotoShelf


def _shelf(request: Request) -> PhotoShelf:
    shelf: PhotoShelf = request.app.state.photos
    return shelf


ShelfDep = Annotated[PhotoShelf, Depends(_shelf)]
