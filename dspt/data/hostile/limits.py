"""Limits on the size of a data set."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024
MAX_PIXELS = 64_000_000
"""A 64-megapixel photograph; below the 89 million at which Pillow itself starts to warn."""


@dataclass(frozen=True)
class Limits:
    """Limits on one data set. Whatever exceeds them is rejected without being read."""

    max_files: int = 200_000
    """Files in the folder or zip; with more, the data set is rejected."""
    max_file_bytes: int = 64 * MIB
    """Size of one unpacked file; a larger file is rejected."""
    max_total_bytes: int = 8 * 1024 * MIB
    """Total size of all unpacked files; with more, the data set is rejected."""
    max_classes: int = 25_000
    """With more, the data set is rejected: each name is stored in the job and the classifier."""
    max_ratio: float = 200.0
    """Unpacked over packed size, for anything that unpacks to more than 1 MiB. Photographs are near
    1; the maximum of deflate is 1032."""
    max_pixels: int = MAX_PIXELS
    """Width times height of one image; a larger image is rejected from its header. Lower than
    Pillow's own limit of 178 million."""
    max_pixels_per_byte: float = 500.0
    """Pixels of all images over the bytes of the zip or folder, above 1,000 million pixels: avoids
    hours of decoding from a few kilobytes. Photographs have fewer than 20, black-and-white scans
    fewer than 300."""
