"""Connected regions of a mask, with numpy and the standard library alone."""

from typing import Any

import numpy as np
import numpy.typing as npt


def label(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], int]:
    """Number the 8-connected regions of a mask [H, W].

    Runs of a row are joined to those that they touch in the row above (union-find), so that the
    Python loop goes over runs, not pixels.

    Returns:
        The number of each pixel's region, 0 for the background, and the count of regions.
    """
    numbers = np.zeros(mask.shape, np.intp)
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    parents = list(range(len(rows)))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    first = np.searchsorted(rows, np.arange(mask.shape[0] + 1))
    for row in range(1, mask.shape[0]):
        above, here = int(first[row - 1]), int(first[row])
        end_above, end_here = here, int(first[row + 1])
        while above < end_above and here < end_here:
            # 8-connected: runs that touch at a corner are one region.
            if starts[above] <= ends[here] and starts[here] <= ends[above]:
                parents[root(here)] = root(above)
            if ends[above] < ends[here]:
                above += 1
            else:
                here += 1
    roots = np.array([root(run) for run in range(len(rows))], np.intp)
    names, regions = np.unique(roots, return_inverse=True)
    for y, start, stop, region in zip(rows, starts, ends, regions, strict=True):
        numbers[y, start:stop] = region + 1
    return numbers, len(names)


def bounding_box(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right (exclusive) of the True pixels of a mask [H, W].

    Raises:
        ValueError: There are none.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        raise ValueError("the mask is empty")
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def outline_length(mask: npt.NDArray[Any]) -> int:
    """Return the number of pixel sides between True and False in a mask [H, W]."""
    padded = np.pad(mask.astype(np.int8), 1)
    return int(np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum())
