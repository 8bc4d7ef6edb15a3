"""Helpers without domain knowledge: device, CPUs, atomic files, strict JSON, progress."""
