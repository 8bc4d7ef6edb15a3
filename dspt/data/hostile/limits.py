"""How much a data set may ask of the machine."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024
MAX_PIXELS = 64_000_000
"""A 64-megapixel photograph; below the 89 million at which Pillow itself starts to warn."""


@dataclass(frozen=True)
class Limits:
    """Bounds on one data set; what passes them is refused or rejected, never read."""

    max_files: int = 200_000
    """Files in the folder or zip; more refuse the data set."""
    max_file_bytes: int = 64 * MIB
    """One unpacked file; a larger one is rejected."""
    max_total_bytes: int = 8 * 1024 * MIB
    """All unpacked files together; more refuse the data set."""
    max_classes: int = 25_000
    """More refuse the data set: they stand in the job and in the classifier, each with its name."""
    max_ratio: float = 200.0
    """Unpacked over packed size, for anything that unpacks to more than 1 MiB. Photographs stay
    near 1; deflate cannot pass 1032."""
    max_pixels: int = MAX_PIXELS
    """Width times height of one image; a larger one is rejected from its header. Pillow's own
    limit of 178 million stays above it."""
    max_pixels_per_byte: float = 500.0
    """Pixels of all images over the bytes of the zip or folder, for more than 1,000 million pixels:
    hours of decoding must not hide in a few kilobytes. Photographs stay under 20, scanned drawings
    in black and white under 300."""
