"""Integer matrix products as x86 CPUs with AVX2 and without VNNI compute them.

onnxruntime's kernels for unsigned activations and signed weights multiply bytes with VPMADDUBSW:
the products of the values 0 and 1 of a row are added, those of 2 and 3, and so on, and each of
these sums has 16 bits and saturates. From there on it is 32 bits. (onnxruntime 1.31, MLAS:
QgemmU8X8KernelAvx2, QgemvU8S8KernelAvx2 and ConvSymKernelAvx2 pair alike.)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SAFE_PAIR = 128  # two weights of one sign that add up to this: 255 * 128 still has 16 bits

_HIGHEST, _LOWEST = 2**15 - 1, -(2**15)
_BLOCK = 2**18  # products looked at together: few enough for the cache


@dataclass(frozen=True)
class Clipped:
    """The sums of one product that saturation changes.

    Attributes:
        rows: Their rows, int64 [E].
        columns: Their columns, int64 [E].
        exact: The sums themselves, int32 [E].
        saturated: What such CPUs compute instead, int32 [E].
        pairs: How many sums of 16 bits were clipped in each row, int64 [R].
    """

    rows: Array
    columns: Array
    exact: Array
    saturated: Array
    pairs: Array


class Weights:
    """Weights int8 [K, N] of products with activations uint8 [R, K].

    Attributes:
        largest_pair_sums: The largest sum of same-signed weights of a pair for each column, [N].
            Above `SAFE_PAIR` there are activations for which the sum of the products saturates.
        sums: The sum of each column, int32 [N].
    """

    def __init__(self, values: Array) -> None:
        self._columns = np.ascontiguousarray(values.T)
        self.sums = values.sum(axis=0, dtype=np.int32)
        wide = values.astype(np.int32)
        if len(wide) % 2:
            wide = np.concatenate([wide, np.zeros_like(wide[:1])])
        first, second = wide[::2], wide[1::2]
        high = np.maximum(first, 0) + np.maximum(second, 0)
        low = np.minimum(first, 0) + np.minimum(second, 0)
        reach = np.maximum(high, -low)
        self.largest_pair_sums = np.asarray(reach.max(axis=0, initial=0))
        # The pairs that can saturate: a few in a hundred. They are in the order of their columns.
        self._column, self._pair = np.nonzero((reach > SAFE_PAIR).T)
        self._left, self._right = (part[self._pair, self._column] for part in (first, second))

    def clip(self, rows: Array) -> Clipped:
        """Find the sums of rows [R, K] times these weights that saturation changes."""
        even = np.pad(rows, [(0, 0), (0, 1)]) if rows.shape[1] % 2 else rows
        clipped = np.zeros(len(rows), np.int64)
        found = [np.zeros((3, 0), np.int64)]
        size = max(1, _BLOCK // max(1, len(self._pair)))
        for start in range(0, len(rows), size):
            block = even[start : start + size]
            bright = self._bright(block.max(axis=0))
            column, pair = self._column[bright], self._pair[bright]
            if not len(pair):
                continue
            sums = block[:, 2 * pair] * self._left[bright]
            sums += block[:, 2 * pair + 1] * self._right[bright]
            over = sums - np.clip(sums, _LOWEST, _HIGHEST)
            clipped[start : start + size] = np.count_nonzero(over, axis=1)
            starts = np.flatnonzero(np.diff(column, prepend=-1))
            excess = np.add.reduceat(over, starts, axis=1)
            at, which = np.nonzero(excess)
            found.append(np.stack([start + at, column[starts[which]], excess[at, which]]))
        at, which, lost = np.concatenate(found, axis=1)
        exact = self._some_sums(rows, at, which)
        return Clipped(at, which, exact, exact - lost.astype(np.int32), clipped)

    def _bright(self, tops: Array) -> Array:
        """Return the pairs that clip if the largest activations [K] of their places meet."""
        wide = tops.astype(np.int32)
        one, other = wide[2 * self._pair], wide[2 * self._pair + 1]
        high = one * np.maximum(self._left, 0) + other * np.maximum(self._right, 0)
        low = one * np.minimum(self._left, 0) + other * np.minimum(self._right, 0)
        return np.flatnonzero((high > _HIGHEST) | (low < _LOWEST))

    def _some_sums(self, rows: Array, at: Array, columns: Array) -> Array:
        """Return the sums at some rows and columns, int32 [E]."""
        size = max(1, _BLOCK // max(1, rows.shape[1]))
        total = np.empty(len(at), np.int32)
        for start in range(0, len(at), size):
            part = slice(start, start + size)
            left = rows[at[part]].astype(np.int32)
            total[part] = np.einsum("ek,ek->e", left, self._columns[columns[part]], dtype=np.int32)
        return total
