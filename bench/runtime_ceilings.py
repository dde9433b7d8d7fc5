"""Which opset and IR version each onnxruntime reads, and whether it pads pooling right: measured.

    python bench/runtime_ceilings.py [VERSION ...]

installs each version into a throw-away folder (from the package index, with a Python on the PATH
that has a wheel of it) and loads files of one node with rising opsets and IR versions in it. The
last columns are max |a - b| between all graph optimizations and none, for a zero padding before a
maximum pooling, as Keras' layers give it and as export guards it. `toolkit export --runtime` rests
on the table in toolkit/exporting/runtimes.py, which this reproduces.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir

from toolkit.errors import ToolkitError
from toolkit.exporting.runtime_install import call, install
from toolkit.exporting.runtimes import find_runtime
from toolkit.graph.passes.guard_pad_maxpool import guard_pad_maxpool

VERSIONS = (
    "1.8.1", "1.10.0", "1.11.1", "1.12.1", "1.13.1", "1.14.1", "1.15.1", "1.16.3", "1.17.3",
    "1.18.1", "1.19.2", "1.20.1", "1.21.1", "1.22.1", "1.23.2", "1.24.2", "1.25.1", "1.30.0",
    "1.31.1", "1.32.0",
)  # fmt: skip
OPSETS, IR_VERSIONS = range(11, 31), range(5, 16)
# Of the padded pooling: as early as Pad has its amounts in an input, so that all versions read it.
PADDED = """<ir_version: 6, opset_import: ["": 11]> g
    (float[n,3,8,8] x) => (float[n,3,4,4] y) <int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}> {
    a = Pad(x, p) y = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(a) }"""

# Runs in the old version: its own Python, its own numpy, nothing of the toolkit.
PROBE = """
import glob, json, os, sys
folder, packages = sys.argv[1:]
sys.path.insert(0, packages)
import numpy as np
import onnxruntime as ort
def session(name, level="ORT_ENABLE_ALL"):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    path = os.path.join(folder, name)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
def reads(name):
    try:
        return bool(session(name))
    except Exception:
        return False
def highest(kind):
    names = [os.path.basename(path) for path in glob.glob(os.path.join(folder, kind + "_*.onnx"))]
    return max(int(name.split("_")[1][:-5]) for name in names if reads(name))
x = -1 - np.random.RandomState(0).rand(2, 3, 8, 8).astype(np.float32)
def gap(name):
    found = [session(name, level).run(None, {"x": x})[0]
             for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL")]
    return float(np.abs(found[0] - found[1]).max())
result = [highest("opset"), highest("ir"), gap("padded.onnx"), gap("guarded.onnx")]
print(json.dumps(result))
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("versions", nargs="*", default=VERSIONS, metavar="VERSION")
    versions = parser.parse_args().versions
    print("onnxruntime  opset  IR  padded   guarded")
    with tempfile.TemporaryDirectory() as name:
        models = Path(name)
        write_models(models)
        for version in versions:
            print(f"{version:11}  {measure(version, models)}", flush=True)


def write_models(folder: Path) -> None:
    """Write the files to load."""
    for kind, numbers in (("opset", OPSETS), ("ir", IR_VERSIONS)):
        for number in numbers:
            opset, version = (number, 5) if kind == "opset" else (11, number)
            text = f'<ir_version: {version}, opset_import: ["": {opset}]> g'
            model = onnx.parser.parse_model(
                f"{text} (float[n] x) => (float[n] y) {{ y = Relu(x) }}"
            )
            (folder / f"{kind}_{number}.onnx").write_bytes(model.SerializeToString())
    padded = onnx.parser.parse_model(PADDED)
    onnx.save(padded, folder / "padded.onnx")
    guarded = ir.from_proto(padded)
    guard_pad_maxpool(guarded)
    onnx.save(ir.to_proto(guarded), folder / "guarded.onnx")


def measure(version: str, models: Path) -> str:
    """Return one version's row."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            installed = install(find_runtime(version), Path(folder))
        except ToolkitError as error:
            return str(error)
        command = [installed.python, "-I", "-S", "-c", PROBE, str(models), folder]
        finished = call(command, 600)
        if finished.returncode != 0:
            return (finished.stderr.strip().splitlines() or ["it crashed"])[-1][:150]
    opset, ir_version, padded, guarded = json.loads(finished.stdout)
    assert np.isfinite([padded, guarded]).all(), version  # noqa: S101
    return f"{opset:5}  {ir_version:2}  {padded:7.1e}  {guarded:7.1e}"


if __name__ == "__main__":
    sys.exit(main())
