"""Tuned classifiers: artefact file, prediction, added classes, ONNX export."""
