"""Find copies of a photo: the same file, or saved again, resized, cropped, mirrored, brightened.

Copies on both sides of a split make a classifier look better than it is, and a wrong label look
right. Each photo gets the number of its group; the photos of a group are copies of each other.

Candidates are the nearest neighbours by features and by thumbnails. Two photos are copies if the
thumbnail of one is like a window of the thumbnail of the other, mirrored or not. Likeness is the
correlation of grey values and of their differences, so brightness and contrast do not matter.
Perceptual hashes compare whole thumbnails, so they do not find crops. The best of ImageHash's,
with a mirrored hash too and a threshold without false pairs, finds 67 and 63 % of altered copies
(clothes, satellite tiles), this one 98 and 80 %. Its hash for crops takes half a second an image.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from dspt.data.dataset import Dataset

THUMBNAIL = "thumbnail/1"
"""Name of the thumbnails in the feature store; change it with `thumbnail_of`."""
SIDE = 32
"""Width and height of a thumbnail."""
THRESHOLD = 0.96
"""Least likeness of copies. Chosen on clothes and satellite tiles, where no pair of different
photos is above 0.952. On Caltech101 all 11 pairs above it are copies; the next one has 0.943."""
_REFINED_FROM = 0.75
"""Likeness from which the place of a window is searched more finely."""
_COMPARED_FROM = 0.4
"""Likeness of the whole thumbnails, at a quarter of their width, from which a pair is compared."""
_NEIGHBOURS = 2
"""Candidates of each image by features, and by thumbnails."""
_PARTS = 16
"""Width and height at which windows are compared."""
_WINDOWS = ((1.0, 1), (0.92, 3), (0.85, 5))
"""Sides of windows relative to the thumbnail, and the number of places in each direction."""
_FINER_SIDES = (-0.035, -0.0175, 0.0, 0.0175, 0.035)
_FINER_PLACES = (-0.8, -0.4, 0.0, 0.4, 0.8)
_ROWS = 1024  # of the similarity matrix that are in memory at once
_PAIRS = 128  # that are compared at once

Thumbnails = NDArray[np.uint8]
Groups = NDArray[np.int64]
Lines = list[tuple[Tensor, Tensor]]
"""What averages the pixels of windows downwards (Y, 16, 32) and across (X, 16, 32), by side."""


def empty_thumbnails(n: int) -> Thumbnails:
    """Return an array for the thumbnails of `n` images: (N, 32, 32)."""
    return np.zeros((n, SIDE, SIDE), np.uint8)


def thumbnail_of(image: Image.Image) -> Thumbnails:
    """Shrink an RGB image to 32 x 32 grey values, whatever its aspect ratio."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small.convert("L"))


def new_photos(groups: Groups, known: int) -> Groups:
    """Return the rows after the first `known` ones that are no copy of an earlier row.

    groups: (N,), as `find_copies` returns them.
    """
    first = np.flatnonzero(groups == np.arange(len(groups)))
    return first[first >= known]


def find_copies(
    hashes: Sequence[Hashable], features: Tensor | None, thumbnails: Thumbnails | None = None
) -> Groups:
    """Return the group of each image: the position of the group's first image, (N,).

    hashes: N digests; equal ones are copies; features: (N, D), unit length; without them,
    candidates are found by thumbnails alone; thumbnails: (N, 32, 32). Without them only equal
    digests are copies. Memory grows with N, not N squared.
    """
    first: dict[Hashable, int] = {}
    same = np.array([first.setdefault(digest, row) for row, digest in enumerate(hashes)], np.int64)
    edges = [np.stack([same, np.arange(len(same))])]
    distinct = np.unique(same)
    if thumbnails is not None and len(distinct) > 1:
        matcher = _Matcher(torch.from_numpy(thumbnails[distinct]).float())
        if features is not None:
            features = features[torch.from_numpy(distinct).to(features.device)]
        pairs = matcher.candidates(features)
        edges.append(distinct[pairs[:, matcher.are_copies(pairs)]])
    ends = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(ends.shape[1], np.bool_), tuple(ends)), shape=(len(same),) * 2)
    _, group = connected_components(graph, directed=False)
    _, start, number = np.unique(group, return_index=True, return_inverse=True)
    return start[number].astype(np.int64)


def groups_of(
    dataset: Dataset, features: Tensor, thumbnails: Thumbnails
) -> tuple[Groups, Groups | None]:
    """Return the groups of the items, and of the images as uploaded if corrections dropped some.

    features, thumbnails: of `dataset.everything()`, as for `find_copies`.
    """
    n = len(dataset.items)
    groups = find_copies(dataset.hashes, features[:n], thumbnails[:n])
    if not dataset.dropped:
        return groups, None
    whole = dataset.everything()
    rows = [*range(n), *range(n + len(dataset.unlabelled), len(whole.items))]
    found = find_copies([whole.hashes[row] for row in rows], features[rows], thumbnails[rows])
    group = {whole.items[row].path: number for row, number in zip(rows, found, strict=True)}
    return groups, np.array([group[item.path] for item in dataset.uploaded], np.int64)


class _Matcher:
    """Compares thumbnails (N, 32, 32) with windows of each other."""

    def __init__(self, thumbnails: Tensor) -> None:
        self._thumbnails = thumbnails
        everything = _averaging(1.0, torch.zeros(1))[0]
        whole = everything @ thumbnails @ everything.T
        self._views = _views(torch.stack([whole, whole.flip(2)], 1))
        """Of the whole thumbnails, and of their mirror images."""
        self._coarse = _with_mirrored(F.avg_pool2d(whole, 2))
        """The same at half the size, which depends less on where an image was cropped."""

    def candidates(self, features: Tensor | None) -> Groups:
        """Return the pairs (2, P) of each image and its nearest neighbours, each pair once."""
        views = [self._coarse] if features is None else [features[:, None], self._coarse]
        pairs = np.sort(np.concatenate([_nearest(view) for view in views], axis=1), axis=0)
        n = len(self._thumbnails)
        keys = np.unique(pairs[0] * n + pairs[1])
        one, other = pairs = np.stack(np.divmod(keys, n))
        alike = (self._coarse[one] * self._coarse[other, :1]).sum(2).amax(1)
        return pairs[:, (alike >= _COMPARED_FROM).numpy()]

    def are_copies(self, pairs: Groups) -> NDArray[np.bool_]:
        """Return whether the images of each pair (2, P) are copies: (P,)."""
        n = pairs.shape[1]
        windowed, whole = both = np.concatenate([pairs, pairs[::-1]], axis=1)
        grid, places = _coarse_grid()
        best, place = torch.full((2 * n,), -1.0), torch.zeros(2 * n, dtype=torch.int64)
        order = np.argsort(windowed, kind="stable")  # so windows of an image are computed once
        for start in range(0, 2 * n, _PAIRS):
            rows = order[start : start + _PAIRS]
            unique, at = np.unique(windowed[rows], return_inverse=True)
            windows = _windows(self._thumbnails[unique], grid)
            best[rows], place[rows] = _compare(windows, self._views[whole[rows]], at).max(1)
        found = best.view(2, n).amax(0) >= THRESHOLD
        uncertain = (best >= _REFINED_FROM) & ~found.repeat(2)
        for number in np.unique(place[uncertain].numpy()).tolist():
            lines = _finer_grid(places[number])
            at_place = (uncertain & (place == number)).nonzero()[:, 0].numpy()
            for start in range(0, len(at_place), _PAIRS):
                rows = at_place[start : start + _PAIRS]
                found[rows[self._are_copies_at(lines, both[:, rows])] % n] = True
        return found.numpy()

    def _are_copies_at(self, lines: Lines, pairs: Groups) -> NDArray[np.bool_]:
        """Return whether a window of the first image of each pair is like the other one: (P,)."""
        windowed, whole = pairs
        windows, views = _windows(self._thumbnails[windowed], lines), self._views[whole]
        possible = _grey_likeness(windows, views).amax((1, 2)) >= 2 * THRESHOLD - 1
        possible[possible.clone()] = (
            _compare(windows[possible], views[possible]).amax(1) >= THRESHOLD
        )
        return possible.numpy()


def _views(images: Tensor) -> Tensor:
    """(N, K, 16, 16) -> (N, 256, 2 K): what `_compare` multiplies windows with.

    The dot product with the descriptor of an image is linear in the window, apart from the lengths
    of the window's descriptor. So differences need not be computed for each window and pair.
    """
    grey, down, right = _parts(images)
    across = torch.zeros_like(images)  # the adjoint of the differences
    across[..., 1:, :] += down
    across[..., :-1, :] -= down
    across[..., 1:] += right
    across[..., :-1] -= right
    of_grey, of_across = _lengths(grey, down, right)[..., None, None].unbind(2)
    return torch.cat([grey / of_grey, across / of_across], 1).flatten(2).mT.contiguous()


def _compare(windows: Tensor, views: Tensor, at: Groups | None = None) -> Tensor:
    """Return the likeness of windows and the most similar view, (P, W).

    windows: (U, W, 16, 16); views: (P, 256, 2 K); at: (P,), rows of the windows. Default: all.
    """
    grey, down, right = _parts(windows)
    lengths, flat = _lengths(grey, down, right), grey.flatten(2)
    if at is not None:
        lengths, flat = lengths[at], flat[at]
    of_grey, of_across = (flat @ views).chunk(2, 2)
    return (of_grey / lengths[..., :1] + of_across / lengths[..., 1:]).amax(2) / 2


def _grey_likeness(windows: Tensor, views: Tensor) -> Tensor:
    """Return the correlation of grey values, (P, W, K); of the likeness it is one half.

    It takes a third of the time of `_compare`, and the other half is at most 0.5.
    """
    flat = windows.flatten(2)
    squares = flat.square().sum(2) - flat.sum(2).square() / flat.shape[2]
    found = flat @ views.chunk(2, 2)[0]
    return found / squares.clamp_min(1.0).sqrt()[..., None]


def _parts(windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the centred grey values, and their differences downwards and to the right."""
    grey = windows - windows.mean((-2, -1), keepdim=True)
    return grey, grey.diff(dim=-2), grey.diff(dim=-1)


def _lengths(grey: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Return the lengths of grey values and of differences, (..., 2), at least 1.

    An image without detail is like no other.
    """
    squares = [part.square().sum((-2, -1)) for part in (grey, down, right)]
    return torch.stack([squares[0], squares[1] + squares[2]], -1).sqrt().clamp_min(1.0)


def _with_mirrored(thumbnails: Tensor) -> Tensor:
    """(N, S, S) -> (N, 2, V): descriptors of thumbnails and of their mirror images."""
    return torch.stack([_descriptors(thumbnails), _descriptors(thumbnails.flip(2))], 1)


def _nearest(views: Tensor) -> Groups:
    """Return the pairs (2, P) of each image, in the most similar view, and its nearest others.

    views: (N, K, V); others are compared in their first view, which gives the same likeness as the
    other way round. So half of the matrix is enough: each block is used for rows and columns.
    """
    n = len(views)
    best = views.new_full((n, min(_NEIGHBOURS, n - 1)), -2)
    which = torch.zeros_like(best, dtype=torch.int64)

    def merge(rows: slice, likeness: Tensor, first: int) -> None:
        near, at = likeness.topk(min(_NEIGHBOURS, likeness.shape[1]))
        near, at = torch.cat([best[rows], near], 1), torch.cat([which[rows], at + first], 1)
        best[rows], chosen = near.topk(best.shape[1])
        which[rows] = at.gather(1, chosen)

    for start in range(0, n, _ROWS):
        end = start + _ROWS
        likeness = (views[start:end] @ views[start:, 0].T).amax(1)
        likeness.diagonal().fill_(-3)
        merge(slice(start, end), likeness, start)
        if end < n:
            merge(slice(end, n), likeness[:, _ROWS:].T, start)
    rows = torch.arange(n, device=views.device)[:, None].expand_as(which)
    return torch.stack([rows, which]).flatten(1).cpu().numpy()


def _windows(thumbnails: Tensor, lines: Lines) -> Tensor:
    """Return the windows of thumbnails that `lines` average: (N, 32, 32) -> (N, W, 16, 16)."""
    found = [
        torch.einsum("ypi,nij,xqj->nyxpq", down, thumbnails, across).flatten(1, 2)
        for down, across in lines
    ]
    return torch.cat(found, 1)


def _coarse_grid() -> tuple[Lines, Tensor]:
    """Return the lines of `_WINDOWS` and their places: (W, 3), the side, top and left edge."""
    lines, places = [], []
    for side, count in _WINDOWS:
        offsets = torch.linspace(0, SIDE * (1 - side), count)
        along = _averaging(side, offsets)
        lines.append((along, along))
        places.append(torch.cartesian_prod(torch.tensor([side]), offsets, offsets))
    return lines, torch.cat(places)


def _finer_grid(place: Tensor) -> Lines:
    """Return the lines of windows around a place (3,)."""
    around, *edges = place.tolist()
    lines = []
    for side in sorted({min(1.0, around + change) for change in _FINER_SIDES}):
        centred = torch.tensor(edges)[:, None] + (around - side) * SIDE / 2
        offsets = (centred + torch.tensor(_FINER_PLACES)).clamp(0, SIDE * (1 - side))
        down, across = (_averaging(side, along.unique()) for along in offsets)
        lines.append((down, across))
    return lines


def _averaging(side: float, offsets: Tensor) -> Tensor:
    """Weights (M, 16, 32) that average the pixels of each of 16 equal parts of a line's window.

    side: relative to the line; offsets: (M,), in pixels.
    """
    edges = offsets[:, None] + SIDE * side * torch.arange(_PARTS + 1) / _PARTS
    pixels = torch.arange(SIDE)
    overlap = edges[:, 1:, None].minimum(pixels + 1) - edges[:, :-1, None].maximum(pixels)
    weights = overlap.clamp_min(0)
    return weights / weights.sum(-1, keepdim=True)


def _descriptors(windows: Tensor) -> Tensor:
    """Return vectors whose dot product is the likeness: (..., 16, 16) -> (..., V).

    An image without detail is like no other: its vector is nearly 0.
    """
    grey = (windows - windows.mean((-2, -1), keepdim=True)).flatten(-2)
    down, right = (windows.diff(dim=dim).flatten(-2) for dim in (-2, -1))
    parts = (grey, torch.cat([down, right], -1))
    return torch.cat([F.normalize(part, dim=-1, eps=1.0) for part in parts], -1) / 2**0.5
