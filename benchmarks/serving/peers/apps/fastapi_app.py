"""The service that one writes in an hour: FastAPI, its thread pool, one image at a time."""

from __future__ import annotations

import os
from typing import Any

import uvicorn
from clip import Classifier
from fastapi import FastAPI, UploadFile

app = FastAPI()
classifier = Classifier()


@app.get("/health")
def health() -> str:
    return "ok"


@app.post("/predict")
def predict(images: UploadFile) -> dict[str, Any]:
    return {"predictions": classifier.classify([classifier.crop(images.file.read())])}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PEER_PORT"]), log_level="warning")
