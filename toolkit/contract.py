"""The model contract: what to feed a model and what comes back.

One JSON document in the ONNX ``metadata_props`` under the key ``toolkit.contract``. Export writes
it, every later step keeps it and adds to it, the runtime reads it. Only the standard library is
imported here, so that the module can travel to a device together with the runtime.

    {"version": 1, "name": "mnist_cnn",
     "inputs":  [{"name": "image", "dtype": "uint8", "shape": ["batch", 28, 28, 1],
                  "image": {"layout": "NHWC", "color": "grayscale", "preparation": "mnist"},
                  "in_graph": {"scale": [0.00392156862745098], "offset": [0.0]},
                  "by_caller": null}],
     "outputs": [{"name": "output", "dtype": "float32", "shape": ["batch", 10],
                  "kind": "probabilities", "labels": ["0", "1", ...]}],
     "session": {"disabled_optimizers": ["Pad_Fusion"], "threads": null},
     "provenance": [{"step": "train", ...}, {"step": "export", ...}, {"step": "quantize", ...}],
     "evidence":   [{"check": "parity", ...}, {"check": "accuracy", ...}]}

Every step of provenance has one shape:

    {"step": "export",
     "source": "mnist_cnn.keras", "sha256": "7632...",      the file that it worked on
     "data": {"name": "mnist", "sha256": "1b90..."},        what it learnt from, or null
     "options": {"opset": 17, "batch": "dynamic", ...},     what it was told
     "results": {"passes": {"fold_scale": 1, ...}},         what came out, beyond the model
     "versions": {"toolkit": "0.1.0", "keras": "3.15.1"}}

Files of earlier versions, whose steps had shapes of their own, are read into this one.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from toolkit.errors import ModelError

KEY = "toolkit.contract"
VERSION = 1

Layout = Literal["NHWC", "NCHW", "NHW"]
Color = Literal["grayscale", "rgb"]
Preparation = Literal["resize", "mnist"]
OutputKind = Literal["probabilities", "logits", "embedding", "raw"]
Dimension = int | str


@dataclass(frozen=True)
class Affine:
    """Preprocessing y = x * scale + offset; one value, or one per channel (last axis first).

    Rescaling, normalization by mean and standard deviation, and division by 255 all have this
    form.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def then(self, second: "Affine") -> "Affine":
        """Return both, one after the other: (x s1 + o1) s2 + o2 = x (s1 s2) + (o1 s2 + o2)."""
        parts = (self.scale, self.offset, second.scale, second.offset)
        count = max(map(len, parts))
        s1, o1, s2, o2 = (part * count if len(part) == 1 else part for part in parts)
        return Affine(
            tuple(a * b for a, b in zip(s1, s2, strict=True)),
            tuple(o * b + c for o, b, c in zip(o1, s2, o2, strict=True)),
        )


@dataclass(frozen=True)
class ImageSpec:
    """How a decoded picture becomes the input tensor.

    Attributes:
        layout: Where batch, height, width and channels stand in the input's shape.
        color: What the channels are; grayscale has one (or no channel axis, "NHW").
        preparation: "resize" scales the picture to the input size; "mnist" repeats what the
            makers of MNIST did: light strokes on black, fitted into 20x20 pixels, centred by
            mass in 28x28.
    """

    layout: Layout
    color: Color
    preparation: Preparation = "resize"


@dataclass(frozen=True)
class InputSpec:
    """One input tensor.

    Attributes:
        name: The graph input's name.
        dtype: numpy's name of the element type.
        shape: Sizes; a string is a symbolic dimension ("batch").
        image: How pictures map onto the tensor, or None for any other tensor.
        in_graph: Preprocessing that the graph does itself; the caller must not repeat it.
        by_caller: Preprocessing that the caller must do before feeding the tensor.
    """

    name: str
    dtype: str
    shape: tuple[Dimension, ...]
    image: ImageSpec | None = None
    in_graph: Affine | None = None
    by_caller: Affine | None = None

    @property
    def sample_shape(self) -> tuple[Dimension, ...]:
        """The shape of one sample: all sizes behind the batch."""
        return self.shape[1:]


@dataclass(frozen=True)
class OutputSpec:
    """One output tensor; ``labels`` name the entries of its last axis."""

    name: str
    dtype: str
    shape: tuple[Dimension, ...]
    kind: OutputKind = "raw"
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Session:
    """How onnxruntime must be started for the model to keep its promises.

    A closed set: an application that cannot apply an option, or does not know it, must refuse
    the model rather than ignore it. Options of the caller's own win over ``threads``.

    Attributes:
        disabled_optimizers: Graph optimizers of onnxruntime that change this model's answers
            (``disabled_optimizers`` in Python, the session configuration entry
            ``optimization.disable_specified_optimizers`` elsewhere, from onnxruntime 1.18 on).
        threads: Threads inside one operator for which its nodes were placed; None for any.
    """

    disabled_optimizers: tuple[str, ...] = ()
    threads: int | None = None


@dataclass(frozen=True)
class Contract:
    """What a model promises to its callers, and the evidence for it.

    ``session`` is how it must be run, ``provenance`` the chain of steps (source file and its
    sha256, options, versions) and ``evidence`` the checks that were made, each a JSON object.
    """

    name: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    session: Session = Session()
    provenance: tuple[dict[str, Any], ...] = ()
    evidence: tuple[dict[str, Any], ...] = ()
    assumed: bool = dataclasses.field(default=False, compare=False)

    @property
    def training_data(self) -> str | None:
        """The name or path of the dataset that the model was trained on, as provenance tells."""
        for step in reversed(self.provenance):
            data = step.get("data") if step.get("step") == "train" else None
            if isinstance(data, dict) and isinstance(data.get("name"), str):
                return str(data["name"])
        return None

    def with_step(self, step: dict[str, Any], *checks: dict[str, Any]) -> "Contract":
        """Return this contract with one more step of provenance and the checks that it made."""
        return dataclasses.replace(
            self,
            provenance=(*self.provenance, step),
            evidence=(*self.evidence, *checks),
            assumed=False,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        document = dataclasses.asdict(self)
        del document["assumed"]
        if self.session == Session():
            del document["session"]  # nothing to apply: readers need not look
        return {"version": VERSION, **document}

    def to_json(self) -> str:
        """Return the JSON text that is stored in the model."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))


def from_json(text: str) -> Contract:
    """Parse the JSON text of a contract.

    Unknown fields are ignored: a later version may add some.

    Raises:
        ModelError: The text is no contract, or one of a later major version.
    """
    try:
        document = json.loads(text)
        version = document["version"]
        if version != VERSION:
            raise ModelError(
                f"The model's contract has version {version!r}, this toolkit reads {VERSION}. "
                "Update the toolkit, or export the model again."
            )
        return Contract(
            name=str(document["name"]),
            inputs=tuple(_input(entry) for entry in document["inputs"]),
            outputs=tuple(_output(entry) for entry in document["outputs"]),
            session=_session(document.get("session") or {}),
            provenance=tuple(_renewed(entry) for entry in document.get("provenance", ())),
            evidence=tuple(dict(entry) for entry in document.get("evidence", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"The model's contract (metadata key '{KEY}') is damaged: {error!r}. "
            "Export the model again."
        ) from error


def new_step(
    step: str,
    *,
    source: str,
    sha256: str,
    options: Mapping[str, Any],
    versions: Mapping[str, str],
    data: Mapping[str, str] | None = None,
    results: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a step of provenance; the fields stand at the top of this module."""
    return {
        "step": step,
        "source": source,
        "sha256": sha256,
        "data": None if data is None else dict(data),
        "options": dict(options),
        "results": dict(results or {}),
        "versions": dict(versions),
    }


# Where the fields of earlier versions stand now.
_MOVED = {
    "options": ("opset", "batch", "input", "recipe", "seed"),
    "results": ("best_epoch", "passes", "samples", "float_layers"),
    "versions": ("toolkit", "keras", "tensorflow"),
}


def _renewed(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step of an earlier version in today's shape; fields that are unknown stay."""
    if "results" in step:
        return dict(step)
    renewed = dict(step)
    if "source_sha256" in renewed:
        renewed["sha256"] = renewed.pop("source_sha256")
    for group, names in _MOVED.items():
        found = {name: renewed.pop(name) for name in names if name in renewed}
        if found:
            given = renewed.get(group)
            renewed[group] = {**(given if isinstance(given, dict) else {}), **found}
    return renewed


def from_metadata(metadata: Mapping[str, str]) -> Contract | None:
    """Return the contract in a model's metadata, or None when it carries none."""
    text = metadata.get(KEY)
    return None if text is None else from_json(text)


def infer(
    name: str,
    inputs: Sequence[tuple[str, str, Sequence[Dimension]]],
    outputs: Sequence[tuple[str, str, Sequence[Dimension]]],
) -> Contract:
    """Return a generic contract for a model that carries none; ``assumed`` is True.

    Args:
        name: What to call the model.
        inputs: Name, numpy dtype name and shape of each graph input.
        outputs: The same of each graph output.
    """
    return Contract(
        name=name,
        inputs=tuple(
            InputSpec(tensor, dtype, tuple(shape), image=guess_image(shape))
            for tensor, dtype, shape in inputs
        ),
        outputs=tuple(OutputSpec(tensor, dtype, tuple(shape)) for tensor, dtype, shape in outputs),
        assumed=True,
    )


def guess_image(shape: Sequence[Dimension]) -> ImageSpec | None:
    """Guess whether a shape is that of pictures: [N,H,W,1|3], [N,1|3,H,W], or None."""
    if len(shape) != 4:
        return None
    if shape[3] in (1, 3):
        return ImageSpec("NHWC", "grayscale" if shape[3] == 1 else "rgb")
    if shape[1] in (1, 3):
        return ImageSpec("NCHW", "grayscale" if shape[1] == 1 else "rgb")
    return None


def _input(entry: Mapping[str, Any]) -> InputSpec:
    image = entry.get("image")
    return InputSpec(
        name=str(entry["name"]),
        dtype=str(entry["dtype"]),
        shape=_shape(entry["shape"]),
        image=None
        if image is None
        else ImageSpec(
            layout=_one_of(image["layout"], Layout),
            color=_one_of(image["color"], Color),
            preparation=_one_of(image.get("preparation", "resize"), Preparation),
        ),
        in_graph=_affine(entry.get("in_graph")),
        by_caller=_affine(entry.get("by_caller")),
    )


def _output(entry: Mapping[str, Any]) -> OutputSpec:
    labels = entry.get("labels")
    return OutputSpec(
        name=str(entry["name"]),
        dtype=str(entry["dtype"]),
        shape=_shape(entry["shape"]),
        kind=_one_of(entry.get("kind", "raw"), OutputKind),
        labels=None if labels is None else tuple(str(label) for label in labels),
    )


def _session(entry: Mapping[str, Any]) -> Session:
    """Read the session's options.

    Raises:
        ModelError: There is one that this toolkit does not know, and so cannot apply.
    """
    unknown = sorted(set(entry) - {field.name for field in dataclasses.fields(Session)})
    if unknown:
        raise ModelError(
            f"The model's contract asks for the session option '{unknown[0]}', which this toolkit "
            "does not know. Update the toolkit."
        )
    optimizers = tuple(str(name) for name in entry.get("disabled_optimizers") or ())
    threads = entry.get("threads")
    if threads is not None and (isinstance(threads, bool) or int(threads) < 1):
        raise ValueError(f"{threads!r} is no number of threads")
    return Session(optimizers, None if threads is None else int(threads))


def _shape(sizes: Sequence[Dimension]) -> tuple[Dimension, ...]:
    return tuple(size if isinstance(size, str) else int(size) for size in sizes)


def _affine(entry: Mapping[str, Any] | None) -> Affine | None:
    if entry is None:
        return None
    return Affine(
        scale=tuple(float(value) for value in entry["scale"]),
        offset=tuple(float(value) for value in entry["offset"]),
    )


def _one_of(value: Any, choices: Any) -> Any:
    if value not in get_args(choices):
        raise ValueError(f"{value!r} is none of {get_args(choices)}")
    return value
