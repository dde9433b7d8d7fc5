"""What x86 CPUs without VNNI make of int8 models: simulated, and computed by an emulated Haswell.

    python bench/saturation.py [MODEL] [--data NAME] [--samples N]

Forms of one model (weights of 8 bits, of 7 bits, and of fewer than 8 where sums clip; as the
default recipe places its layers, and with all of them in int8): what
clips on the calibration samples, what that does to the answer, how far quantization itself is from
float, and, where the emulated CPUs are set up (`toolkit device setup emulated`), how far the
simulated answer is from the one that onnxruntime gives there. Then the time of onnxruntime's own
remedy, the session option session.x64quantprecision, against that of none, in alternating calls.
Exits with 3 when an emulated answer is not the simulated one.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime

import toolkit
from toolkit.datasets import load_dataset
from toolkit.devices import open_device, sysroot
from toolkit.errors import ToolkitError
from toolkit.quantization.samples import Samples
from toolkit.quantization.saturated_network import SaturatedNetwork
from toolkit.runtime import load

ALL = '[placement]\nslow_convolutions = "int8"\nlast_layer = "int8"\n'
FORMS = {
    "8 bits": "",
    "7 bits": "[weights]\nreduce_range = true\n",
    "where needed": '[weights]\nreduce_range = "where_needed"\n',
    "8 bits, all int8": ALL,
    "where needed, all int8": ALL + '[weights]\nreduce_range = "where_needed"\n',
}
FLOAT_PARTS = 2e-6  # softmax and float layers round otherwise on other CPUs


@click.command()
@click.argument("model", default="mnist_cnn")
@click.option("--data", default="mnist", show_default=True)
@click.option("--samples", default=64, show_default=True, help="Test samples to compare.")
@click.option("--calls", default=2000, show_default=True, help="Calls to time, of either kind.")
def main(model: str, data: str, samples: int, calls: int) -> None:
    """Quantize, simulate, emulate and print; MODEL is a path or a name of the zoo."""
    with tempfile.TemporaryDirectory() as folder:
        made = quantized(model, data, Path(folder))
        contract = load(made["8 bits"], provider="cpu").contract
        test = load_dataset(data, contract).test
        spec = contract.inputs[0]
        feed = Samples((spec,), {spec.name: test.images}).feed(slice(0, samples))
        differ = compared(made, contract.outputs[0].name, feed)
        one = {name: tensor[:1] for name, tensor in feed.items()}
        ratio = time_ratio(made["8 bits"], one, calls)
    print(f"\n8 bits, batch 1, 1 thread: with session.x64quantprecision=1 {ratio:.2f} of the time "
          f"without, 10th percentile of {calls:,} calls")  # fmt: skip
    if differ:
        sys.exit(3)


def quantized(model: str, data: str, folder: Path) -> dict[str, Path]:
    """Quantize each form and print what its result says."""
    print(f"{'weights':24}{'layers that clip':18}{'samples':>12}{'sums':>10}{'steps':>10}"
          f"{'same class':>12}{'noise to float':>16}")  # fmt: skip
    made = {}
    for name, rules in FORMS.items():
        recipe = folder / "recipe.toml"
        recipe.write_text(f'description = "{name}"\nportable = true\n{rules}')
        made[name] = folder / f"{name}.onnx"
        result = toolkit.quantize(model, made[name], data=data, recipe=recipe)
        found = result.saturation
        if found is None or result.test is None:
            raise SystemExit(f"{model} cannot be simulated on {data}.")
        agreement = 1.0 if found.agreement is None else found.agreement
        print(f"{name:24}{len(found.clipped):3} of {found.layers:3} ({found.exposed} could)"
              f"{found.clipped_samples:8} of {found.samples}"
              f"{sum(layer.clipped for layer in found.clipped):10,}{found.answer_steps:10.2g}"
              f"{100 * agreement:10.2f} %{result.test.sqnr_db:13.1f} dB")  # fmt: skip
    return made


def compared(made: dict[str, Path], output: str, feed: dict[str, Any]) -> bool:
    """Print how far emulated answers are from simulated and from exact ones."""
    if not sysroot.is_made():
        print("\nThe emulated CPUs are not set up: toolkit device setup emulated")
        return False
    try:
        runs = [(path, feed) for path in made.values()]
        emulated = open_device("emulated:haswell").infer(runs, batch=len(next(iter(feed.values()))))
    except ToolkitError as error:
        print(f"\nNot compared: {error}")
        return False
    print(f"\n{'weights':24}{'emulated - simulated':>22}{'emulated - exact':>20}   (largest)")
    wrong = False
    for (name, path), outputs in zip(made.items(), emulated.outputs, strict=True):
        network = SaturatedNetwork(onnx.load(path), [output])
        [simulated], _ = network.run(feed)
        [exact] = network.run_exactly(feed)
        off = [float(np.abs(outputs[output] - each).max()) for each in (simulated, exact)]
        wrong |= off[0] > FLOAT_PARTS * float(np.abs(exact).max())
        print(f"{name:24}{off[0]:22.2g}{off[1]:20.2g}")
    return wrong


def time_ratio(path: Path, feed: dict[str, Any], calls: int) -> float:
    """Return the time with onnxruntime's exact kernels as a part of the time without."""
    sessions = []
    for value in ("0", "1"):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.x64quantprecision", value)
        sessions.append(onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"]))
    times: tuple[list[int], list[int]] = ([], [])
    for call in range(calls + 50):
        for session, taken in zip(sessions, times, strict=True):
            start = time.perf_counter_ns()
            session.run(None, feed)
            if call >= 50:
                taken.append(time.perf_counter_ns() - start)
    plain, exact = (float(np.quantile(taken, 0.1)) for taken in times)
    return exact / plain


if __name__ == "__main__":
    main()
