"""Golden samples: a few inputs and their right outputs, kept inside the model file.

They travel with the model, so that every device and every language can tell whether it gives the
same answers. They stand in the ``metadata_props`` under the key ``toolkit.golden`` as one JSON
document; the arrays in it are a compressed .npz archive in base 85:

    {"version": 1, "graph": "<sha256 of the graph>", "made": {"onnxruntime": "1.31.1", ...},
     "data": "mnist", "arrays": "<inputs/image, outputs/probabilities>"}
"""

import base64
import binascii
import dataclasses
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from toolkit import contract as contracts
from toolkit.errors import ModelError
from toolkit.files import whole_file
from toolkit.runtime.session import check_model_file

KEY = "toolkit.golden"
VERSION = 1
MAX_SAMPLES = 8
CHECK = "golden"

_MAX_BYTES = 256 << 20  # what the archive may expand to
_ROOM = 1 / 20  # of the model's size
_LEAST_ROOM = 8 << 10

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Golden:
    """Inputs and the outputs that a model must give for them.

    Attributes:
        inputs: Name to array [N, ...], as the graph takes it.
        outputs: Name to array [N, ...].
        made: Where the outputs come from: the version of onnxruntime and the CPU.
        data: The dataset that the samples come from, or None for random ones.
        current: False when the file's graph is not the one that gave the outputs.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    made: Mapping[str, Any]
    data: str | None
    current: bool = True

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(next(iter(self.inputs.values())))


def load_model(path: Path) -> onnx.ModelProto:
    """Read a model file, without data that stands in other files.

    Raises:
        ModelError: It cannot be read, or is no ONNX model.
    """
    check_model_file(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's parser raises what it likes
        raise ModelError(f"'{path}' is no ONNX model, or it is damaged.") from error
    if not model.graph.output:
        raise ModelError(f"'{path}' is no ONNX model, or it is damaged.")
    return model


def read(model: onnx.ModelProto, origin: Path) -> Golden | None:
    """Return the golden samples in a model, or None when it carries none.

    Raises:
        ModelError: They are damaged, or of another version.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    text = metadata.get(KEY)
    if text is None:
        return None
    try:
        document = json.loads(text)
        _check_version(document["version"])
        arrays = _unpacked(document["arrays"])
        inputs, outputs = (
            {name.removeprefix(kind): values for name, values in arrays.items()
             if name.startswith(kind)}
            for kind in ("inputs/", "outputs/")
        )  # fmt: skip
        _check_lengths(inputs, outputs)
        current = document["graph"] == _graph_digest(model)
        return Golden(inputs, outputs, dict(document["made"]), document["data"], current)
    except (
        KeyError, TypeError, ValueError, AttributeError, EOFError,
        binascii.Error, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise ModelError(
            f"The golden samples in '{origin}' cannot be read ({error}); make new ones: "
            f"toolkit verify {origin} --attach"
        ) from error


def attach(path: Path, golden: Golden) -> Golden:
    """Write golden samples into a model file, as many as take little room, and return those.

    At most 8 samples, and only as many as take 5 % of the model's size or 8 kB, but at least one.
    Everything else in the file stays as it is; a contract gets an entry of evidence.

    Raises:
        ModelError: The file is no ONNX model.
        OutputError: The file cannot be written.
    """
    model = load_model(path)
    room = max(path.stat().st_size * _ROOM, _LEAST_ROOM)
    count = min(len(golden), MAX_SAMPLES)
    while True:
        kept = dataclasses.replace(
            golden,
            inputs={name: values[:count] for name, values in golden.inputs.items()},
            outputs={name: values[:count] for name, values in golden.outputs.items()},
        )
        arrays = _packed(kept)
        if len(arrays) <= room or count == 1:
            break
        count = max(1, min(count - 1, int(count * room / len(arrays))))
    document = {
        "version": VERSION,
        "graph": _graph_digest(model),
        "made": dict(golden.made),
        "data": golden.data,
        "arrays": arrays,
    }
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    metadata[KEY] = json.dumps(document, separators=(",", ":"))
    contract = contracts.from_metadata(metadata)
    if contract is not None:
        digest = hashlib.sha256(arrays.encode()).hexdigest()
        entry = {"check": CHECK, "samples": count, "data": golden.data, "sha256": digest}
        others = [known for known in contract.evidence if known.get("check") != CHECK]
        contract = dataclasses.replace(contract, evidence=(*others, entry))
        metadata[contracts.KEY] = contract.to_json()
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata)
    with whole_file(path) as temporary:
        onnx.save(model, temporary)
    return kept


def _check_version(version: object) -> None:
    if version != VERSION:
        raise ValueError(f"version {version!r}, this toolkit reads {VERSION}")


def _check_lengths(inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
    lengths = {len(values) for arrays in (inputs, outputs) for values in arrays.values()}
    if len(lengths) != 1 or not inputs or not outputs:
        raise ValueError("inputs and outputs do not match")


def _packed(golden: Golden) -> str:
    archive = io.BytesIO()
    arrays = {f"inputs/{name}": values for name, values in golden.inputs.items()}
    arrays |= {f"outputs/{name}": values for name, values in golden.outputs.items()}
    np.savez_compressed(archive, allow_pickle=False, **arrays)
    return base64.b85encode(archive.getvalue()).decode("ascii")


def _unpacked(text: str) -> dict[str, Array]:
    archive = io.BytesIO(base64.b85decode(text))
    # A small archive may claim, or hold, gigabytes.
    with zipfile.ZipFile(archive) as content:
        if sum(entry.file_size for entry in content.infolist()) > _MAX_BYTES:
            raise ValueError(f"they expand to more than {_MAX_BYTES >> 20} MiB")
    archive.seek(0)
    with np.load(archive, allow_pickle=False) as content:
        return {name: content[name] for name in content.files}


def _graph_digest(model: onnx.ModelProto) -> str:
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()
