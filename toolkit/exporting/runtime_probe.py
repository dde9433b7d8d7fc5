"""Runs a model in whatever onnxruntime stands in a folder; a script of its own.

``python -I -S runtime_probe.py PACKAGES MODEL CASES RESULTS`` imports nothing of the toolkit, so
that neither the toolkit's packages nor their versions reach the runtime that is tried.

CASES and RESULTS are .npz files: "0/input/1" is the second input of the first case. RESULTS holds
"0/all/1" and "0/none/1", the second output of the first case with all graph optimizations and
with none, and "version". A failure is one line on stderr and status 1.
"""

import os
import sys


def main() -> None:
    """Run the cases."""
    packages, model, cases, results = sys.argv[1:]
    sys.path.insert(0, packages)
    import numpy as np
    import onnxruntime as ort

    outputs = {"version": np.array(ort.__version__)}
    with np.load(cases) as archive:
        inputs = {name: archive[name] for name in archive.files}
    for way, level in (
        ("all", ort.GraphOptimizationLevel.ORT_ENABLE_ALL),
        ("none", ort.GraphOptimizationLevel.ORT_DISABLE_ALL),
    ):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.log_severity_level = 4
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]
        for case in dict.fromkeys(name.split("/")[0] for name in inputs):
            feeds = {name: inputs[f"{case}/input/{index}"] for index, name in enumerate(names)}
            for index, output in enumerate(session.run(None, feeds)):
                outputs[f"{case}/{way}/{index}"] = output
    np.savez(results, **outputs)  # type: ignore[arg-type]  # stubs see allow_pickle


if __name__ == "__main__":
    try:
        main()
    # Old versions of onnxruntime raise classes of their own, and none is an error of this script.
    except Exception as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        sys.stderr.flush()
        os._exit(1)
