"""A fixed piece of work that is timed among the models: how fast the machine is at the moment.

Two benches of one model differ by what the machine did meanwhile: its clock, its other programs,
its host. Work that never changes, timed in the same rounds, feels the same; times divided by its
time can be compared from one bench to the next. It uses numpy alone, so that another version of
onnxruntime does not hide its own change.
"""

import numpy as np

from toolkit.measuring.latency import Call

NAME = ""  # among the models of `toolkit.measuring.latency.measure`; no model is called that
_SIDE = 80  # small enough that every BLAS multiplies on one thread
_PRODUCTS = 6
_VALUES = 4096


def open_yardstick() -> Call:
    """Return what does the work once, some 0.1 ms: matrix products, and an exp over a vector."""
    rng = np.random.default_rng(0)
    left, right = rng.random((2, _SIDE, _SIDE), np.float32)
    product = np.empty((_SIDE, _SIDE), np.float32)
    values = rng.random(_VALUES, np.float32)
    powers = np.empty_like(values)

    def work() -> None:
        for _ in range(_PRODUCTS):
            np.matmul(left, right, out=product)
        np.exp(values, out=powers)

    return work
