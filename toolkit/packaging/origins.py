"""Where a model came from, as its contract's provenance tells."""

from pathlib import Path

from toolkit.contract import Contract
from toolkit.files import sha256
from toolkit.recipes import builtin_dir


def float_original(path: Path, contract: Contract) -> Path | None:
    """Return the float model that a quantized one was made from, or None.

    It is looked for beside the model and in the zoo, by the name and sha256 that quantization
    noted.
    """
    for step in reversed(contract.provenance):
        if step.get("step") == "quantize":
            name = Path(str(step.get("source", ""))).name
            for folder in (path.parent, builtin_dir("models")):
                candidate = folder / name
                if candidate.is_file() and sha256(candidate) == step.get("sha256"):
                    return candidate
            break
    return None


def builtin_data(contract: Contract) -> str | None:
    """Return the built-in data that a model was made with, or None."""
    from toolkit.datasets.builtin import LOADERS

    for step in reversed(contract.provenance):
        data = step.get("data")
        if isinstance(data, dict) and data.get("name") in LOADERS:
            return str(data["name"])
    return None
