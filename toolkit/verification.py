"""`verify`: whether models give the same answers on another device, sample by sample."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit import golden as goldens
from toolkit.contract import Contract
from toolkit.datasets import load_dataset, sample
from toolkit.devices import Description, open_device
from toolkit.devices.emulated import CPUS
from toolkit.equality import Difference, Rule, compare, rule
from toolkit.errors import DataError
from toolkit.golden import Golden
from toolkit.measuring.inputs import input_shape, random_input
from toolkit.recipes import find_model
from toolkit.reporting.terminal import note
from toolkit.runtime import load
from toolkit.runtime.feeding import to_batch

Array = npt.NDArray[Any]

ALL_EMULATED = "emulated"
_SAMPLES = 8


@dataclass(frozen=True)
class Verified:
    """One model on one device.

    Attributes:
        model: The model's path.
        device: How the device was opened.
        rule: How equal the answers have to be, see `toolkit.equality`.
        samples: How many were compared.
        max_abs_diff: The largest difference; the smallest tolerance that would pass.
        allowed: The largest difference that the rule allows.
        differing: Samples with any difference.
        class_changes: Samples whose highest score is elsewhere.
        passed: Whether the rule holds for every output.
    """

    model: str
    device: str
    rule: Rule
    samples: int
    max_abs_diff: float
    allowed: float
    differing: int
    class_changes: int
    passed: bool


@dataclass(frozen=True)
class VerifyResult:
    """All models on all devices.

    Attributes:
        checks: One entry per device and model.
        devices: What the devices are.
        references: By model, where the expected answers come from, in words.
        attached: Samples that were written into the models; 0 when none were.
    """

    checks: tuple[Verified, ...]
    devices: tuple[Description, ...]
    references: Mapping[str, str]
    attached: int = 0

    @property
    def passed(self) -> bool:
        """Whether every model passed on every device."""
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document; an infinite difference is null."""
        checks = [dataclasses.asdict(check) for check in self.checks]
        for check in checks:
            if not np.isfinite(check["max_abs_diff"]):
                check["max_abs_diff"] = None
        return {
            "schema": "toolkit.verify/1",
            "passed": self.passed,
            "checks": checks,
            "devices": [device.to_dict() for device in self.devices],
            "references": dict(self.references),
            "attached": self.attached,
        }


@dataclass(frozen=True)
class _Case:
    """A model with what it must answer."""

    path: Path
    golden: Golden
    rule: Rule
    reference: str


def verify(
    models: str | Path | Sequence[str | Path],
    *,
    device: str | Sequence[str] = "local",
    data: str | None = None,
    samples: int | None = None,
    attach: bool = False,
    install: bool = False,
) -> VerifyResult:
    """Run models on devices and compare their answers with the golden ones.

    The golden samples are those in the model file. A file without any, or with those of another
    graph, is compared with what this machine answers, computed exactly: on samples of ``data``,
    of the data that the model was trained on, or on random ones.

    Args:
        models: ONNX files, or names of the zoo.
        device: Devices as `open_device` takes them; "emulated" stands for all emulated CPUs.
        data: A dataset: takes samples of its training part in place of those in the file.
        samples: How many of them, by default 8.
        attach: Write the samples and the answers of this machine into the files.
        install: See `open_device`.

    Raises:
        ModelError: A model is missing or damaged, or does not run on a device.
        DataError: The data does not fit a model.
        DeviceError: A device cannot be reached, or is not set up.
        RecipeError: A device is unknown.
        MissingPackageError: A package is missing, here or there.
        OutputError: A file cannot be written.
        ValueError: ``samples`` is below 1, or there is no model or no device.
    """
    if samples is not None and samples < 1:
        raise ValueError(f"samples is {samples}, it must be at least 1")
    listed = [models] if isinstance(models, (str, Path)) else list(models)
    specs = _specs([device] if isinstance(device, str) else list(device))
    if not listed or not specs:
        raise ValueError("there is no model or no device to verify")
    # Unknown devices are found before any work.
    devices = [open_device(spec, install=install) for spec in specs]
    paths = [find_model(str(model), ".onnx") for model in listed]
    cases = [_case(path, data, samples, renew=attach) for path in paths]
    attached = 0
    if attach:
        attached = min(len(goldens.attach(case.path, case.golden)) for case in cases)
    checks: list[Verified] = []
    described: list[Description] = []
    for opened in devices:
        with opened:
            answers = opened.infer([(case.path, case.golden.inputs) for case in cases])
        described.append(answers.device)
        checks += [
            _compared(case, opened.spec, outputs)
            for case, outputs in zip(cases, answers.outputs, strict=True)
        ]
    references = {str(case.path): case.reference for case in cases}
    return VerifyResult(tuple(checks), tuple(described), references, attached)


def _specs(given: list[str]) -> list[str]:
    specs = [
        spec
        for name in given
        for spec in ([f"emulated:{cpu}" for cpu in CPUS] if name == ALL_EMULATED else [name])
    ]
    return list(dict.fromkeys(specs))


def _compared(case: _Case, device: str, outputs: Mapping[str, Array]) -> Verified:
    differences = [
        compare(outputs[name], expected, case.rule) if name in outputs else _MISSING
        for name, expected in case.golden.outputs.items()
    ]
    worst = max(differences, key=lambda entry: (not entry.passed, entry.max_abs))
    return Verified(
        model=str(case.path),
        device=device,
        rule=case.rule,
        samples=len(case.golden),
        max_abs_diff=worst.max_abs,
        allowed=worst.allowed,
        differing=max(entry.samples for entry in differences),
        class_changes=max(entry.classes for entry in differences),
        passed=worst.passed,
    )


_MISSING = Difference(float("inf"), 0.0, 0, 0)


def _case(path: Path, data: str | None, samples: int | None, *, renew: bool) -> _Case:
    model = goldens.load_model(path)
    how = rule(model)
    found = goldens.read(model, path)
    wanted = data is not None or samples is not None
    if found is not None and found.current and not wanted and not renew:
        by = f"onnxruntime {found.made.get('onnxruntime')} on {found.made.get('cpu')}"
        return _Case(path, found, how, f"{len(found)} golden samples in the file, made by {by}")
    if found is not None and not wanted:
        inputs, origin = found.inputs, found.data
    else:
        inputs, origin = _inputs(path, data, samples or _SAMPLES)
    made = expected(path, inputs, origin)
    return _Case(path, made, how, f"this machine's answers on {len(made)} {_words(origin)}")


def expected(path: Path, inputs: Mapping[str, Array], data: str | None) -> Golden:
    """Return golden samples: inputs and what the model answers here, computed exactly.

    Args:
        path: The model.
        inputs: Name to array [N, ...], as the graph takes it.
        data: The dataset that they come from, or None for random ones.

    Raises:
        ModelError: The model does not run.
    """
    answers = open_device("local").infer([(path, inputs)], exact=True)
    here = answers.device
    made = {
        "onnxruntime": here.onnxruntime,
        "cpu": here.cpu,
        "cpu_features": list(here.cpu_features),
    }
    return Golden(inputs, answers.outputs[0], made, data)


def _words(origin: str | None) -> str:
    return "random samples" if origin is None else f"samples of {origin}"


def _inputs(path: Path, data: str | None, samples: int) -> tuple[dict[str, Array], str | None]:
    """Return inputs as the graph takes them, and the name of the dataset that they come from."""
    contract = load(path, provider="cpu").contract
    name = data or contract.training_data
    if name is not None:
        try:
            return {contract.inputs[0].name: _real(path, contract, name, samples)}, name
        except DataError as error:
            if data is not None:
                raise
            note(f"Comparing on random samples: {error}")
    fixed = contract.inputs[0].shape[0] if contract.inputs[0].shape else samples
    batch = fixed if isinstance(fixed, int) else samples
    return {
        spec.name: random_input(spec, input_shape(spec, batch, {}, str(path)), seed)
        for seed, spec in enumerate(contract.inputs)
    }, None


def _real(path: Path, contract: Contract, data: str, samples: int) -> Array:
    """Return samples of the training part of a dataset: the test part is for final figures."""
    if len(contract.inputs) != 1:
        raise DataError(f"'{path}' has {len(contract.inputs)} inputs; '{data}' has samples of one.")
    training = load_dataset(data, contract).training
    chosen = sample(training, min(samples, len(training)), seed=0)
    return np.ascontiguousarray(to_batch(chosen.images[0 : len(chosen)], contract.inputs[0]))
