"""Peak memory of calibration with few and with many samples, for every method.

    python bench/calibration_memory.py [MODEL.onnx]

Each figure is the peak RSS of a process of its own that calibrates the zoo's MNIST CNN with
MNIST's training images; the last column is what ten times as many samples add. Exit status 1 when
one method adds more than 10 %.
"""

import resource
import subprocess
import sys
from typing import get_args

FEW, MANY = 500, 5000
GOAL = 10  # percent


def measure(model: str, method: str, count: int) -> None:
    """Calibrate in this process and print its peak RSS in MiB."""
    import onnx

    from toolkit.quantization.calibration import calibrate
    from toolkit.quantization.recipe import Activations, Calibration
    from toolkit.quantization.samples import from_data
    from toolkit.recipes import find_model
    from toolkit.runtime import load

    path = find_model(model, ".onnx")
    data = from_data("mnist", load(path).contract, count=count, seed=0)
    proto = onnx.load(path)
    names = [
        name
        for node in proto.graph.node
        if node.op_type in ("Conv", "Relu", "MaxPool", "Gemm")
        for name in node.output
    ]
    options = Calibration.model_validate({"method": method})
    calibrate(proto, names, data.calibration, options, Activations())
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Run every method with few and many samples; print the table."""
    from toolkit.quantization.recipe import RangeMethod

    model = sys.argv[1] if len(sys.argv) > 1 else "mnist_cnn"
    print(f"{'method':16} {FEW:>8} {MANY:>8} samples, MiB")
    worst = 0.0
    for method in get_args(RangeMethod):
        peaks = []
        for count in (FEW, MANY):
            command = [sys.executable, __file__, "--one", model, method, str(count)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            peaks.append(float(done.stdout.split()[-1]))
        growth = 100 * (peaks[1] / peaks[0] - 1)
        print(f"{method:16} {peaks[0]:8.1f} {peaks[1]:8.1f} {growth:+6.1f} %", flush=True)
        worst = max(worst, growth)
    sys.exit(0 if worst <= GOAL else 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
