"""Writes the quantized model with its contract: how it was made, and what was checked."""

import dataclasses
import importlib.metadata
from pathlib import Path
from typing import Any

import onnx

from toolkit import __version__
from toolkit.contract import KEY, Contract, Session, new_step
from toolkit.files import sha256, whole_file
from toolkit.quantization.building import Built
from toolkit.quantization.checking import Comparison
from toolkit.quantization.optimizer_check import OptimizerCheck
from toolkit.quantization.result import accuracy, finite
from toolkit.quantization.samples import Data
from toolkit.quantization.saturation import Saturation
from toolkit.quantization.speed import Speed
from toolkit.runtime.session import import_onnxruntime


def provenance(
    source: Path, recipe: str, built: Built, data: Data | None, seed: int
) -> dict[str, Any]:
    """Return how a model was quantized, as the contract keeps it."""
    candidate = built.candidate
    settings = candidate.recipe.model_dump(mode="json", exclude={"description"})
    return new_step(
        "quantize",
        source=source.name,
        sha256=sha256(source),
        data=None if data is None else {"name": data.name, "sha256": data.digest},
        options={"recipe": recipe, "seed": seed, **settings},
        results={"samples": built.samples, "float_layers": built.reasons},
        versions={
            "toolkit": __version__,
            **{name: importlib.metadata.version(name) for name in ("onnx", "numpy")},
            "onnxruntime": onnxruntime_version(),
        },
    )


def accuracy_evidence(test: Comparison, data: Data) -> dict[str, Any]:
    """Return what quantization cost on test samples, as the contract keeps it."""
    return {
        "check": "quantization",
        "data": data.name,
        "samples": test.samples,
        "accuracy": accuracy(test),
        "agreement": test.agreement,
        "sqnr_db": finite(test.sqnr_db),
    }


def optimizer_evidence(optimizer: OptimizerCheck) -> dict[str, Any]:
    """Return how far onnxruntime's optimizer moves the answer, as the contract keeps it."""
    return {
        "check": "optimizer",
        "onnxruntime": onnxruntime_version(),
        "samples": optimizer.samples,
        "steps": optimizer.steps,
        "of_noise": finite(optimizer.of_noise),
    }


def speed_evidence(speed: Speed) -> dict[str, Any]:
    """Return how the model's speed compares with float, as the contract keeps it."""
    return {
        "check": "speed",
        "ratio": round(speed.ratio.value, 4),
        "interval": [round(speed.ratio.low, 4), round(speed.ratio.high, 4)],
        "verdict": speed.ratio.verdict,
        "machine": speed.machine,
    }


def with_session(contract: Contract, built: Built, threads: int | None) -> Contract:
    """Return the contract with the session options that a quantized model needs."""
    names = (*contract.session.disabled_optimizers, *built.candidate.disabled_optimizers)
    session = Session(tuple(dict.fromkeys(names)), threads or contract.session.threads)
    return dataclasses.replace(contract, session=session)


def retyped(contract: Contract, model: onnx.ModelProto) -> Contract:
    """Return the contract with the dtypes that the inputs and outputs of a graph have now."""
    dtypes = {
        value.name: str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        for value in (*model.graph.input, *model.graph.output)
    }
    return dataclasses.replace(
        contract,
        inputs=tuple(
            dataclasses.replace(spec, dtype=dtypes[spec.name]) for spec in contract.inputs
        ),
        outputs=tuple(
            dataclasses.replace(spec, dtype=dtypes[spec.name]) for spec in contract.outputs
        ),
    )


def saturation_evidence(saturation: Saturation) -> dict[str, Any]:
    """Return what x86 CPUs without VNNI make of the model, as the contract keeps it."""
    document = saturation.to_dict()
    layers = [layer.name for layer in saturation.clipped]
    return {"check": "saturation", **document, "clipped_layers": layers}


def write(output: Path, model: onnx.ModelProto, contract: Contract, source: Path) -> int:
    """Write a model; the source's own metadata stays, the contract is renewed.

    Returns the size of the file in bytes.
    """
    kept = {
        entry.key: entry.value
        for entry in onnx.load(source, load_external_data=False).metadata_props
    }
    complete = onnx.ModelProto()
    complete.CopyFrom(model)
    del complete.metadata_props[:]
    onnx.helper.set_model_props(complete, {**kept, KEY: contract.to_json()})
    complete.producer_name, complete.producer_version = "toolkit", __version__
    onnx.checker.check_model(complete)
    content = bytes(complete.SerializeToString())
    with whole_file(output) as temporary:
        temporary.write_bytes(content)
    return len(content)


def onnxruntime_version() -> str:
    """Return the version of the onnxruntime that is imported: two packages may provide it."""
    return str(import_onnxruntime().__version__)
