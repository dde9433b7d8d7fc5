"""`quantize`: the step from a float ONNX model to an int8 one, with the evidence."""

import importlib.metadata
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx

from toolkit import __version__
from toolkit.contract import KEY, Contract
from toolkit.errors import CheckFailedError, DataError, ModelError
from toolkit.files import check_output, sha256, whole_file
from toolkit.quantization import building
from toolkit.quantization.checking import Comparison, compare, has_classes
from toolkit.quantization.data_check import warnings_about
from toolkit.quantization.optimizer_check import OptimizerCheck, check_optimizer
from toolkit.quantization.recipe import Recipe, read_recipe
from toolkit.quantization.running import Runner
from toolkit.quantization.samples import Data, from_data
from toolkit.recipes import find_model
from toolkit.runtime.loading import load

InputData = str | Path | Iterable[Mapping[str, npt.NDArray[Any]]]

# onnx_ir logs what it repairs on its way, which is no news to a user.
logging.getLogger("onnx_ir").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class QuantizeResult:
    """The quantized model and what it cost.

    Attributes:
        path: The file that was written.
        recipe: Name of the recipe.
        size_bytes: Its size.
        source_size_bytes: The float model's size.
        data: Name of the data, or None when the recipe needs none and none was given.
        samples: Calibration samples that were run; 0 for a dynamic recipe.
        test: Both models on the test samples, or None without data.
        validation: Both models on the validation samples, when there was a budget.
        optimizer: How far onnxruntime's optimizer moves the answer, or None without data.
        int8_nodes: Names of the nodes of the float graph that work in int8 now.
        float_nodes: Names of the others.
        reasons: Why a weight layer stayed in float, by its name.
        repairs: What had to be done to the float model first.
        ranges_grew: How much the ranges still changed over the last quarter of the calibration
            samples, in [0, 1], or None for a dynamic recipe.
        warnings: What a person should know.
        seconds: Wall time.
    """

    path: Path
    recipe: str
    size_bytes: int
    source_size_bytes: int
    data: str | None
    samples: int
    test: Comparison | None
    validation: Comparison | None
    optimizer: OptimizerCheck | None
    int8_nodes: tuple[str, ...]
    float_nodes: tuple[str, ...]
    reasons: dict[str, str]
    repairs: tuple[str, ...]
    ranges_grew: float | None
    warnings: tuple[str, ...] = field(default=())
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": "toolkit.quantize/1",
            "path": str(self.path),
            "recipe": self.recipe,
            "size_bytes": self.size_bytes,
            "source_size_bytes": self.source_size_bytes,
            "data": self.data,
            "samples": self.samples,
            "accuracy": _accuracy(self.test),
            "agreement": None if self.test is None else self.test.agreement,
            "sqnr_db": None if self.test is None else _finite(self.test.sqnr_db),
            "test_samples": 0 if self.test is None else self.test.samples,
            "validation": None
            if self.validation is None
            else {"samples": self.validation.samples, **(_accuracy(self.validation) or {})},
            "optimizer_steps": None if self.optimizer is None else self.optimizer.steps,
            "nodes": {"int8": len(self.int8_nodes), "float": len(self.float_nodes)},
            "float_layers": self.reasons,
            "ranges_grew": self.ranges_grew,
            "repairs": list(self.repairs),
            "warnings": list(self.warnings),
            "seconds": round(self.seconds, 2),
        }


def quantize(
    model: str | Path,
    output: str | Path,
    *,
    data: InputData | None = None,
    recipe: str | Path = "int8",
    samples: int | None = None,
    seed: int = 0,
    max_drop: float | None = None,
    force: bool = False,
) -> QuantizeResult:
    """Quantize an ONNX model and measure what it costs.

    The ranges of activations are measured on training samples. Accuracy and agreement are
    measured on test samples, once; the budget is decided on validation samples.

    Args:
        model: A float .onnx file, or a zoo name. It is left unchanged.
        output: The file to write.
        data: A dataset's name or path, an .npz with an array for each input of the model, or an
            iterable of dicts that map input names to batches. By default the dataset that the
            model was trained on, as its contract tells.
        recipe: Name of a built-in recipe (quantize/<name>.toml), or a .toml file.
        samples: Calibration samples, by default as many as the recipe says.
        seed: Draws the calibration samples; 0 or above.
        max_drop: Accuracy budget, in percentage points of top-1 on validation samples, 0 to 100.
            If it is exceeded, nothing is written.
        force: Replace a file that is there.

    Raises:
        CheckFailedError: The budget is exceeded, or onnxruntime's optimizer changes the answer.
        ModelError: The model is missing, damaged, quantized already, or has nothing to quantize;
            or there is a budget and its output holds no classes.
        DataError: The data is missing, unreadable or does not fit the model.
        RecipeError: The recipe is unknown or has an error.
        OutputError: The output cannot be written, or exists and ``force`` is False.
        ValueError: ``samples``, ``seed`` or ``max_drop`` is out of range.
    """
    started = time.perf_counter()
    if samples is not None and samples < 1:
        raise ValueError(f"samples is {samples}, it must be at least 1")
    if seed < 0:
        raise ValueError(f"seed is {seed}, it cannot be negative")
    if max_drop is not None and not 0 <= max_drop <= 100:  # NaN is refused, too
        raise ValueError(f"max_drop is {max_drop}, it must be from 0 to 100")
    source = find_model(str(model), ".onnx")
    output = check_output(output, force=force, inputs=[source], suffixes=[".onnx"])
    recipe_name, rules = read_recipe(recipe)
    float_model = load(source, provider="cpu")
    contract = float_model.contract
    count = rules.calibration.samples if samples is None else samples
    budget = rules.max_drop if max_drop is None else max_drop
    if budget is not None and not has_classes(contract.outputs[0]):
        output_spec = contract.outputs[0]
        raise ModelError(
            f"'{source}': an accuracy budget (--max-drop, or max_drop in the recipe) needs class "
            f"scores, but the output '{output_spec.name}' {list(output_spec.shape)} is of kind "
            f"'{output_spec.kind}'. Leave out the budget; the output's signal to noise ratio is "
            "reported in any case."
        )
    loaded = _data(data, contract, rules, count, seed)
    if budget is not None and (loaded is None or loaded.validation.labels is None):
        raise DataError(
            "An accuracy budget (--max-drop) needs labelled data; give a dataset with labels "
            "with --data."
        )
    built = building.build(source, loaded, rules)

    reference = Runner(source, [contract.outputs[0].name])
    candidate = Runner(built.model, [contract.outputs[0].name])
    validation = None
    if budget is not None and loaded is not None:
        validation = compare(
            reference, candidate, loaded.validation, contract.outputs[0], "checking the budget"
        )
        _require(validation, budget, source, recipe_name)
    test = optimizer = None
    warnings = list(built.warnings)
    if loaded is not None:
        optimizer = check_optimizer(built.model, reference, loaded.validation, str(source))
        test = compare(reference, candidate, loaded.test, contract.outputs[0], "measuring accuracy")
        warnings += warnings_about(test, loaded, contract, reference)

    step = {
        "step": "quantize",
        "source": source.name,
        "sha256": sha256(source),
        "recipe": recipe_name,
        "options": rules.model_dump(mode="json", exclude={"description"}),
        "data": None if loaded is None else {"name": loaded.name, "sha256": loaded.digest},
        "samples": built.samples,
        "seed": seed,
        "versions": {
            "toolkit": __version__,
            **{name: importlib.metadata.version(name) for name in ("onnx", "numpy")},
            "onnxruntime": onnxruntime_version(),
        },
    }
    checks = []
    if loaded is not None and test is not None and optimizer is not None:
        checks = [_evidence(test, loaded), _optimizer_evidence(optimizer)]
    content = _with_contract(built.model, contract.with_step(step, *checks), source)
    with whole_file(output) as temporary:
        temporary.write_bytes(content)
    return QuantizeResult(
        path=output,
        recipe=recipe_name,
        size_bytes=len(content),
        source_size_bytes=source.stat().st_size,
        data=None if loaded is None else loaded.name,
        samples=built.samples,
        test=test,
        validation=validation,
        optimizer=optimizer,
        int8_nodes=built.int8_nodes,
        float_nodes=built.float_nodes,
        reasons=built.reasons,
        repairs=built.repairs,
        ranges_grew=built.ranges_grew,
        warnings=tuple(warnings),
        seconds=time.perf_counter() - started,
    )


def onnxruntime_version() -> str:
    """Return the version of the onnxruntime that is imported: two packages may provide it."""
    import onnxruntime

    return str(onnxruntime.__version__)


def _data(
    data: InputData | None, contract: Contract, recipe: Recipe, count: int, seed: int
) -> Data | None:
    if data is None:
        data = contract.training_data
    if data is None:
        if recipe.method == "dynamic":
            return None
        raise DataError(
            "Calibration needs samples, and the model does not tell what it was trained on. "
            "Name a dataset with --data, or take the recipe int8-dynamic, which needs none."
        )
    return from_data(data, contract, count=count, seed=seed)


def _require(comparison: Comparison, budget: float, source: Path, recipe: str) -> None:
    drop = comparison.drop
    if drop is None:
        raise CheckFailedError(
            f"'{source}' with the recipe '{recipe}': no accuracy came of the "
            f"{comparison.samples:,} validation samples, so that the budget cannot be decided; "
            "nothing was written. Leave out --max-drop."
        )
    if drop > budget:
        raise CheckFailedError(
            f"'{source}' with the recipe '{recipe}' loses {drop:.4g} points of top-1 on "
            f"{comparison.samples:,} validation samples, the budget is {budget:g}; nothing was "
            "written. Try more --samples, a recipe with another calibration method, or keep "
            "layers in float with [nodes] exclude."
        )


def _evidence(test: Comparison, data: Data) -> dict[str, Any]:
    return {
        "check": "quantization",
        "data": data.name,
        "samples": test.samples,
        "accuracy": _accuracy(test),
        "agreement": test.agreement,
        "sqnr_db": _finite(test.sqnr_db),
    }


def _optimizer_evidence(optimizer: OptimizerCheck) -> dict[str, Any]:
    return {
        "check": "optimizer",
        "onnxruntime": onnxruntime_version(),
        "samples": optimizer.samples,
        "steps": optimizer.steps,
        "of_noise": _finite(optimizer.of_noise),
    }


def _with_contract(model: onnx.ModelProto, contract: Contract, source: Path) -> bytes:
    """Return the file's bytes: the source's own metadata stays, the contract is renewed."""
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
    return bytes(complete.SerializeToString())


def _accuracy(comparison: Comparison | None) -> dict[str, float] | None:
    if comparison is None or comparison.drop is None:
        return None
    assert comparison.top1_float is not None  # noqa: S101 - there is a drop
    assert comparison.top1_int8 is not None  # noqa: S101 - there is a drop
    return {
        "float": comparison.top1_float,
        "int8": comparison.top1_int8,
        "drop": round(comparison.drop, 6),
    }


def _finite(ratio: float) -> float | None:
    """Return a number that JSON can hold: equal outputs have no finite ratio."""
    return round(ratio, 4) if abs(ratio) != float("inf") else None
