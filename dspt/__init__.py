"""Double-Softmax Prompt Tuning: tune CLIP's prompt on few, partly mislabelled photos.

A plain torch library. It knows nothing of the web, the database or the worker that call it.
Start with `dspt.data.load_dataset`, `dspt.pipeline.tune` and `dspt.model.predict.Classifier`.
"""
