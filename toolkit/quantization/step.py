"""`quantize`: the step from a float ONNX model to an int8 one, with the evidence.

load -> data -> candidates (built and judged on validation samples) -> the accuracy budget -> the
speed on this machine -> checks on the one that was chosen -> write. Nothing is written unless
every check has passed.
"""

import logging
import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from toolkit.contract import Contract, OutputSpec
from toolkit.errors import DataError
from toolkit.files import check_output
from toolkit.quantization import speed as speeds
from toolkit.quantization import writing
from toolkit.quantization.budget import Budget, check_data, check_decidable
from toolkit.quantization.building import Built
from toolkit.quantization.candidate import Candidate
from toolkit.quantization.checking import Comparison, answers, compare
from toolkit.quantization.data_check import warnings_about
from toolkit.quantization.float_model import FloatModel
from toolkit.quantization.optimizer_repair import make_sound
from toolkit.quantization.recipe import Recipe, read_recipe
from toolkit.quantization.repair import meet_budget
from toolkit.quantization.result import QuantizeResult
from toolkit.quantization.running import Runner
from toolkit.quantization.samples import Data, Samples, from_data
from toolkit.quantization.saturation import Saturation, simulate
from toolkit.quantization.saturation import warnings_about as saturation_warnings
from toolkit.quantization.stopwatch import LocalStopwatch, one_call
from toolkit.quantization.trials import Trials
from toolkit.recipes import find_model
from toolkit.runtime.loading import load

InputData = str | Path | Iterable[Mapping[str, npt.NDArray[Any]]]

# onnx_ir logs what it repairs on its way, which is no news to a user.
logging.getLogger("onnx_ir").addHandler(logging.NullHandler())


def quantize(
    model: str | Path,
    output: str | Path,
    *,
    data: InputData | None = None,
    recipe: str | Path = "int8",
    samples: int | None = None,
    seed: int = 0,
    max_drop: float | None = None,
    min_agreement: float | None = None,
    min_sqnr: float | None = None,
    portable: bool | None = None,
    allow_slower: bool = False,
    allow_session_options: bool = False,
    search_time: float = 30.0,
    threads: int | None = None,
    force: bool = False,
) -> QuantizeResult:
    """Quantize an ONNX model and measure what it costs.

    The ranges of activations are measured on training samples. Accuracy and agreement are
    measured on test samples, once; the budget is decided on validation samples. Nodes that int8
    makes slower on this machine stay in float, as measurements tell.

    Args:
        model: A float .onnx file, or a zoo name. It is left unchanged.
        output: The file to write.
        data: A dataset's name or path, an .npz with an array for each input of the model, or an
            iterable of dicts that map input names to batches [n, ...]. Dicts are read once, and
            no more than needed: a generator will do. Every fifth of their samples is kept from
            calibration, for validation and test by turns. By default the dataset that the model
            was trained on, as its contract tells.
        recipe: Name of a built-in recipe (quantize/<name>.toml), or a .toml file.
        samples: Calibration samples, by default as many as the recipe says.
        seed: Draws the calibration samples; 0 or above.
        max_drop: Accuracy budget, in percentage points of top-1 on validation samples, 0 to 100.
            A model that exceeds it is repaired; where that does not help, nothing is written.
        min_agreement: The same without labels: percent of the validation samples to which the
            float and the quantized model must give the same class, 0 to 100.
        min_sqnr: The same for outputs without classes: the least ratio of signal to quantization
            noise, in decibels.
        portable: Place nodes by rules alone, without a measurement on this machine; None leaves
            it to the recipe.
        allow_slower: Write a model that is slower than float, too.
        allow_session_options: When an optimizer pass of onnxruntime changes the answer and nothing
            else helps, keep in the contract that it be left out.
        search_time: Seconds that the measurements may take, above 0.
        threads: Threads inside one operator to measure with, kept in the model's contract; None
            measures with one and keeps nothing.
        force: Replace a file that is there.

    Raises:
        CheckFailedError: The budget cannot be kept, the model stays slower than float, or
            onnxruntime's optimizer changes the answer.
        ModelError: The model is missing, damaged, quantized already, or has nothing to quantize;
            or there is a budget and its output holds no classes.
        DataError: The data is missing, unreadable or does not fit the model.
        RecipeError: The recipe is unknown or has an error.
        OutputError: The output cannot be written, or exists and ``force`` is False.
        ValueError: A number is out of range.
    """
    started = time.perf_counter()
    if samples is not None and samples < 1:
        raise ValueError(f"samples is {samples}, it must be at least 1")
    if seed < 0:
        raise ValueError(f"seed is {seed}, it cannot be negative")
    budget = Budget(max_drop, min_agreement, min_sqnr)
    if not 0 < search_time < math.inf:
        raise ValueError(f"search_time is {search_time}, it must be above 0")
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}, it must be at least 1")
    source = find_model(str(model), ".onnx")
    output = check_output(output, force=force, inputs=[source], suffixes=[".onnx"])
    recipe_name, rules = read_recipe(recipe)
    contract = load(source, provider="cpu").contract
    asked = budget
    budget = asked.or_else(Budget(rules.max_drop, rules.min_agreement, rules.min_sqnr))
    check_decidable(budget, str(source), contract)
    count = rules.calibration.samples if samples is None else samples
    loaded = _data(data, contract, rules, count, seed)
    warnings: list[str] = []
    if loaded is None and budget and not asked:
        budget = Budget()
        warnings.append("Without data nothing was checked, not even the recipe's own budget.")
    check_data(budget, loaded)

    reference = Runner(source, [contract.outputs[0].name])
    float_model = FloatModel(source, loaded)
    trials = Trials(float_model, reference, contract.outputs[0], budget)
    best, attempts = meet_budget(trials, trials.run(Candidate(rules)), recipe_name)
    best = make_sound(trials, best, allow_session_options=allow_session_options)
    speed = None
    # float16 is for GPUs, and a node of it that stays in float32 gains nothing on a CPU.
    by_rules = rules.portable if portable is None else portable
    if not by_rules and rules.method != "float16":
        feeds = one_call(contract, None if loaded is None else loaded.validation, str(source))
        stopwatch = LocalStopwatch(feeds, threads=threads or 1)
        best, speed = speeds.tune(trials, best, stopwatch, search_time)
        if not allow_slower:
            speeds.require_not_slower(speed, best, source, recipe_name)
    built = best.built

    test = optimizer = saturation = None
    warnings += built.warnings
    checks = []
    if loaded is not None:
        optimizer = trials.optimizer_check(built)
        saturation = _saturation(built, loaded, contract.outputs[0])
        test = _measure(reference, built, loaded.test, contract.outputs[0])
        warnings += warnings_about(test, loaded, contract, reference)
        checks.append(writing.accuracy_evidence(test, loaded))
    if optimizer is not None:
        checks.append(writing.optimizer_evidence(optimizer))
    if saturation is not None:
        warnings += saturation_warnings(saturation, recipe_name)
        checks.append(writing.saturation_evidence(saturation))
    if speed is not None:
        checks.append(writing.speed_evidence(speed))
    step = writing.provenance(source, recipe_name, built, loaded, seed)
    contract = writing.with_session(contract, built, threads)
    contract = writing.retyped(contract, built.model).with_step(step, *checks)
    size = writing.write(output, built.model, contract, source)
    return QuantizeResult(
        path=output,
        recipe=recipe_name,
        precision=rules.precision,
        size_bytes=size,
        source_size_bytes=source.stat().st_size,
        data=None if loaded is None else loaded.name,
        samples=built.samples,
        test=test,
        validation=best.validation,
        attempts=attempts,
        optimizer=optimizer,
        saturation=saturation,
        speed=speed,
        int8_nodes=built.int8_nodes,
        float_nodes=built.float_nodes,
        reasons=built.reasons,
        repairs=built.repairs,
        ranges_grew=built.ranges_grew,
        warnings=tuple(warnings),
        seconds=time.perf_counter() - started,
    )


def _saturation(built: Built, data: Data, output: OutputSpec) -> Saturation | None:
    """Simulate x86 CPUs without VNNI, or return None for a model that is not made for CPUs."""
    recipe = built.candidate.recipe
    if recipe.precision != "int8" or recipe.format == "tensorrt":
        return None
    disabled = built.candidate.disabled_optimizers
    return simulate(built.model, data.calibration, output, disabled_optimizers=disabled)


def _measure(reference: Runner, built: Built, samples: Samples, output: OutputSpec) -> Comparison:
    """Run both models on the test samples."""
    expected = answers(reference, samples, "measuring accuracy of float")
    disabled = built.candidate.disabled_optimizers
    runner = Runner(built.model, [output.name], disabled_optimizers=disabled)
    return compare(expected, answers(runner, samples, "measuring accuracy"), samples, output)


def _data(
    data: InputData | None, contract: Contract, recipe: Recipe, count: int, seed: int
) -> Data | None:
    if data is None:
        data = contract.training_data
    if data is None:
        if recipe.method != "static":
            return None
        raise DataError(
            "Calibration needs samples, and the model does not tell what it was trained on. "
            "Name a dataset with --data, or take the recipe int8-dynamic or weights-int8, which "
            "need none."
        )
    return from_data(data, contract, count=count, seed=seed)
