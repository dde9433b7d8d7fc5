"""What a CPU's features mean for int8 models: which kernels onnxruntime takes, and their sums."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Int8Kernels:
    """How onnxruntime computes int8 products on a CPU.

    Attributes:
        name: The instructions.
        exact: False when sums of two products saturate at 16 bits.
        recipe: The quantization recipe made for it.
        reason: Why that one, in words.
    """

    name: str
    exact: bool
    recipe: str
    reason: str


# The first whose feature the CPU has; measured with onnxruntime 1.31 (ARM and AVX2 under qemu).
_BY_FEATURE = (
    ("amx_int8", Int8Kernels("AMX", True, "int8", "sums of 32 bits, fast")),
    ("avx512_vnni", Int8Kernels("AVX-512 VNNI", True, "int8", "sums of 32 bits, fast")),
    ("avx_vnni", Int8Kernels("AVX VNNI", True, "int8", "sums of 32 bits, fast")),
    (
        "avx2",
        Int8Kernels(
            "AVX2 without VNNI", False, "int8-x86-avx2",
            "sums of two u8 x s8 products saturate at 16 bits with full-range weights",
        ),
    ),
    ("sse4_1", Int8Kernels("SSE4.1", True, "int8", "sums of 32 bits, slow")),
    ("i8mm", Int8Kernels("i8mm", True, "int8-arm64", "matrix products of int8, fast")),
    ("asimddp", Int8Kernels("dot product", True, "int8-arm64", "udot and sdot, fast")),
    ("asimd", Int8Kernels("NEON", True, "int8-arm64", "no dot product: exact, but less to gain")),
    ("neon", Int8Kernels("NEON, 32 bits", True, "int8", "exact, but less to gain")),
)  # fmt: skip
_UNKNOWN = Int8Kernels("unknown", True, "int8", "the system does not tell the CPU's features")


def int8_kernels(features: Collection[str]) -> Int8Kernels:
    """Return the kernels for features as /proc/cpuinfo names them."""
    return next((kernels for feature, kernels in _BY_FEATURE if feature in features), _UNKNOWN)
