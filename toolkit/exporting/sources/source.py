"""A model file that `export` was given: where it is, what it is, and what may be done with it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.contract import Contract, from_json

Kind = Literal["keras", "h5", "saved_model", "tflite", "onnx"]

NAMES: dict[Kind, str] = {
    "keras": "a .keras file",
    "h5": "a Keras HDF5 file",
    "saved_model": "a SavedModel",
    "tflite": "a TensorFlow Lite file",
    "onnx": "an ONNX file",
}


@dataclass(frozen=True)
class Source:
    """A model file that was looked at, and the options of loading it.

    Attributes:
        path: The file, or the folder of a SavedModel.
        kind: What it is.
        contract: The contract that it carries, or None.
        unsafe_load: Whether Python code that stands in the file may run.
        custom_objects: A Python file that defines the model's own classes, or None.
        signature: Which signature of a SavedModel or TensorFlow Lite file to take, or None for
            the usual one.
        opset: The opset that an ONNX file is in, or None.
    """

    path: Path
    kind: Kind
    contract: Contract | None = None
    unsafe_load: bool = False
    custom_objects: Path | None = None
    signature: str | None = None
    opset: int | None = None

    def to_job(self) -> dict[str, Any]:
        """Return what the child process needs to load the model, as JSON."""
        return {
            "source": str(self.path),
            "kind": self.kind,
            "contract": None if self.contract is None else self.contract.to_dict(),
            "unsafe_load": self.unsafe_load,
            "custom_objects": None if self.custom_objects is None else str(self.custom_objects),
            "signature": self.signature,
        }

    @classmethod
    def from_job(cls, job: dict[str, Any]) -> "Source":
        """Return the source that `to_job` described."""
        contract, classes = job["contract"], job["custom_objects"]
        return cls(
            path=Path(job["source"]),
            kind=job["kind"],
            contract=None if contract is None else from_json(json.dumps(contract)),
            unsafe_load=job["unsafe_load"],
            custom_objects=None if classes is None else Path(classes),
            signature=job["signature"],
        )
