"""Where to cut off a histogram: what is lost beyond the range against what finer steps win.

All functions take the counts and centers of equal bins [BINS] around zero and the range of the
values that were seen, and return a range inside it. Zero itself costs nothing in any range: every
zero point represents it exactly.
"""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Centers = npt.NDArray[np.float64]
Range = tuple[float, float]

_STEPS = 255  # an 8-bit range has 256 codes
_FRACTIONS = np.linspace(0.1, 1.0, 91)


def percentile(counts: Counts, centers: Centers, full: Range, keep: float) -> Range:
    """Return the range that holds ``keep`` percent of the values.

    What is cut off is shared by both ends; of values of one sign, all of it comes from the far
    end.
    """
    low, high = full
    cut = counts.sum() * (1 - keep / 100)
    sides = 1 if low >= 0 or high <= 0 else 2
    half = (centers[1] - centers[0]) / 2
    cumulated = np.cumsum(counts)
    if high > 0:
        # The first bin with no more than the cut above its upper edge.
        last = int(np.argmax(cumulated[-1] - cumulated <= cut / sides))
        high = min(high, max(float(centers[last] + half), 0.0))
    if low < 0:
        before = np.concatenate([[0], cumulated[:-1]])
        first = len(counts) - 1 - int(np.argmax((before <= cut / sides)[::-1]))
        low = max(low, min(float(centers[first] - half), 0.0))
    return low, high


def entropy(counts: Counts, centers: Centers, full: Range) -> Range:
    """Return the range whose 8-bit codes lose least information about the magnitudes.

    For each threshold T the distribution of |x|, with everything beyond T counted at T, is
    compared with itself at the resolution of the codes; T with the smallest Kullback-Leibler
    divergence wins. Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017.
    """
    low, high = full
    middle = len(counts) // 2
    magnitudes = (counts[middle:] + counts[:middle][::-1]).astype(np.float64)
    # ReLU's zeros need no code of their own to be right; as a spike they would decide alone.
    magnitudes[0] = magnitudes[1]
    codes = _STEPS + 1 if low >= 0 or high <= 0 else (_STEPS + 1) // 2
    width = float(centers[1] - centers[0])
    used = int(np.ceil(max(-low, high) / width))
    best, threshold = np.inf, max(-low, high)
    for end in range(codes, used + 1, max(1, used // 128)):
        reference = magnitudes[:end].copy()
        coarse = _at_resolution(reference, codes)
        reference[-1] += magnitudes[end:].sum()
        divergence = _divergence(reference, coarse)
        if divergence < best:
            best, threshold = divergence, end * width
    return float(max(low, -threshold)), float(min(high, threshold))


def least_squares(counts: Counts, centers: Centers, full: Range, *, symmetric: bool) -> Range:
    """Return the range with the smallest mean squared error after rounding to 8 bits.

    Both ends are first moved in together, then each by itself.
    """
    weights = counts.astype(np.float64)
    weights[np.abs(centers) < centers[1] - centers[0]] = 0  # zero is exact
    low, high = min(full[0], 0.0), max(full[1], 0.0)
    if symmetric:
        high = max(-low, high)
        low = -high

    def best(candidates: list[Range]) -> Range:
        errors = [_squared_error(weights, centers, candidate) for candidate in candidates]
        return candidates[int(np.argmin(errors))]

    low, high = best([(low * fraction, high * fraction) for fraction in _FRACTIONS])
    if not symmetric:
        low, high = best([(low, high * fraction) for fraction in _FRACTIONS])
        low, high = best([(low * fraction, high) for fraction in _FRACTIONS])
    return float(low), float(high)


def _squared_error(weights: npt.NDArray[np.float64], centers: Centers, limits: Range) -> float:
    low, high = limits
    if low >= high:
        return float(weights @ centers**2)
    scale = (high - low) / _STEPS
    zero_point = np.rint(-low / scale)
    codes = np.clip(np.rint(centers / scale) + zero_point, 0, _STEPS)
    return float(weights @ (centers - (codes - zero_point) * scale) ** 2)


def _at_resolution(histogram: npt.NDArray[np.float64], codes: int) -> npt.NDArray[np.float64]:
    """Return the histogram as seen through ``codes`` equal codes; empty bins stay empty."""
    code = np.minimum(np.arange(len(histogram)) * codes // len(histogram), codes - 1)
    occupied = histogram > 0
    totals = np.bincount(code, histogram, codes)
    shares = np.bincount(code, occupied, codes)
    spread = np.divide(totals, shares, out=np.zeros(codes), where=shares > 0)
    return np.where(occupied, spread[code], 0.0)


def _divergence(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    """Return sum(p * ln(p / q)) of two histograms; a bin that q lacks counts as nearly empty."""
    if not p.sum() or not q.sum():
        return float("inf")
    p, q = p / p.sum(), np.maximum(q / q.sum(), 1e-9)
    present = p > 0
    return float(np.sum(p[present] * np.log(p[present] / q[present])))
