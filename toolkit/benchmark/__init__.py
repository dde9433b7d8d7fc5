"""`bench`: models side by side in accuracy, latency, memory and size."""

from toolkit.benchmark.result import (
    Accuracy,
    BenchResult,
    Comparison,
    Flip,
    Latency,
    Variant,
)
from toolkit.benchmark.run import bench

__all__ = ["Accuracy", "BenchResult", "Comparison", "Flip", "Latency", "Variant", "bench"]
