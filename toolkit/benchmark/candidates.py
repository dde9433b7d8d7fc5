"""The models of a comparison: found, opened, and checked to be comparable."""

import itertools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.benchmark.building import Entrant
from toolkit.benchmark.plan import Setting
from toolkit.contract import Contract, Dimension, InputSpec
from toolkit.errors import ModelError
from toolkit.measuring.inputs import input_shape, random_input
from toolkit.runtime import Model, load
from toolkit.runtime.feeding import to_batch
from toolkit.runtime.session import Provider

Feeds = dict[str, npt.NDArray[Any]]

_PIECE = 1 << 20


@dataclass(frozen=True)
class Candidate:
    """One model under one setting, ready to be measured; `Variant` is what comes of it.

    Attributes:
        name: Unique in the comparison.
        model: The model's name.
        path: Its file.
        made_by: The step that made it for this bench, or None.
        setting: How it is run.
        contract: What it takes and gives.
        providers: What onnxruntime really uses.
        feeds: The tensors of one call.
    """

    name: str
    model: str
    path: Path
    made_by: str | None
    setting: Setting
    contract: Contract
    providers: tuple[str, ...]
    feeds: Feeds


def open_models(entrants: Mapping[str, Entrant], provider: Provider) -> dict[str, Model]:
    """Load every model and check that they do the same task.

    Raises:
        ModelError: A file is no model, or two models take or give different things.
        ProviderError: The provider is not there.
    """
    models = {name: load(entrant.path, provider=provider) for name, entrant in entrants.items()}
    first_name, first = next(iter(models.items()))
    for name, model in models.items():
        difference = _difference(_signature(first.contract), _signature(model.contract))
        if difference:
            raise ModelError(
                f"'{first_name}' and '{name}' do not do the same task: {difference}. "
                "Compare models that take and give the same."
            )
    return models


def candidates(
    entrants: Mapping[str, Entrant],
    opened: Mapping[Provider, Mapping[str, Model]],
    settings: Sequence[Setting],
    *,
    images: npt.NDArray[Any] | None,
) -> list[Candidate]:
    """Return every model under every setting; the models of one setting stand together.

    Args:
        entrants: The models' files by name.
        opened: The loaded models by provider and name.
        settings: How to run each model.
        images: Samples to feed, repeated where a batch needs more; None for random tensors.

    Raises:
        ModelError: A size is not known, or a model's batch is fixed at another.
        DataError: The samples do not fit, or the model cannot run on its input.
    """
    found = []
    for setting, (name, entrant) in itertools.product(settings, entrants.items()):
        model = opened[setting.provider][name]
        feeds = {spec.name: _tensor(spec, setting, images, name) for spec in model.contract.inputs}
        model.run(feeds)
        label = _setting_label(setting, settings)
        found.append(
            Candidate(
                name=f"{name}, {label}" if label else name,
                model=name,
                path=entrant.path,
                made_by=entrant.made_by,
                setting=setting,
                contract=model.contract,
                providers=model.providers,
                feeds=feeds,
            )
        )
    return found


def pairs(found: Sequence[Candidate]) -> list[tuple[Candidate, Candidate]]:
    """Return each candidate with its baseline.

    That is the first model in the same setting, or, for a single model, its first setting.
    """
    single = len({entry.model for entry in found}) == 1
    compared = []
    for entry in found:
        baseline = next(other for other in found if single or other.setting == entry.setting)
        if entry is not baseline:
            compared.append((entry, baseline))
    return compared


def file_sizes(path: Path) -> tuple[int, int]:
    """Return the bytes of a model on disk and compressed by zlib, its external data included."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    parts = {path}
    for tensor in onnx.load(path, load_external_data=False).graph.initializer:
        if uses_external_data(tensor):
            parts.add(path.parent / ExternalDataInfo(tensor).location)
    size = compressed = 0
    for part in sorted(parts):
        packer = zlib.compressobj()
        with part.open("rb") as file:
            while piece := file.read(_PIECE):
                size += len(piece)
                compressed += len(packer.compress(piece))
        compressed += len(packer.flush())
    return size, compressed


def _tensor(
    spec: InputSpec,
    setting: Setting,
    images: npt.NDArray[Any] | None,
    model: str,
) -> npt.NDArray[Any]:
    sizes = dict(setting.sizes)
    if images is None:
        return random_input(spec, input_shape(spec, setting.batch, sizes, model))
    batch = np.resize(images, (setting.batch, *images.shape[1:]))
    tensor = to_batch(batch, spec)
    if isinstance(spec.shape[0], int):
        input_shape(spec, setting.batch, sizes, model)  # a fixed batch must be the one asked for
    return tensor


def _setting_label(setting: Setting, settings: Sequence[Setting]) -> str:
    """Return what tells a setting from the others: "batch 8, 2 threads"."""
    parts: list[str] = []
    if len({other.provider for other in settings}) > 1:
        parts.append(setting.provider)
    if len({other.batch for other in settings}) > 1:
        parts.append(f"batch {setting.batch}")
    if len({other.threads for other in settings}) > 1:
        parts.append(f"{setting.threads} thread{'s' if setting.threads > 1 else ''}")
    parts += [
        f"{name} {value}"
        for name, value in setting.sizes
        if len({dict(other.sizes)[name] for other in settings}) > 1
    ]
    return ", ".join(parts)


def _signature(contract: Contract) -> dict[str, tuple[object, ...] | None]:
    """Return what models must share to be compared, part by part.

    Names of tensors may differ, and for images the dtype and the place of the channels too:
    exporting with other preprocessing changes them, the task stays the same.
    """
    return {
        "inputs": tuple(_content(spec) for spec in contract.inputs),
        "outputs": tuple(_known(spec.shape[1:]) for spec in contract.outputs),
        "labels": contract.outputs[0].labels,
    }


def _content(spec: InputSpec) -> tuple[object, ...]:
    shape = _known(spec.sample_shape)
    if spec.image is None or len(shape) not in (2, 3):
        return (*shape, spec.dtype)
    if spec.image.layout == "NCHW":
        channels, height, width = shape
        return height, width, channels
    return (*shape, 1) if spec.image.layout == "NHW" else shape


def _known(shape: tuple[Dimension, ...]) -> tuple[Dimension, ...]:
    return tuple(size if isinstance(size, int) else "?" for size in shape)


def _difference(
    ours: Mapping[str, tuple[object, ...] | None], theirs: Mapping[str, tuple[object, ...] | None]
) -> str | None:
    """Return the first part that both know and that differs, in words; None when all agree."""
    for part, value in ours.items():
        other = theirs[part]
        if value is not None and other is not None and value != other:
            return f"their {part} are {_shown(value)} and {_shown(other)}"
    return None


def _shown(values: tuple[object, ...]) -> str:
    text = ", ".join(
        f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)
        for value in values
    )
    return text if len(text) < 120 else f"{text[:117]}..."
