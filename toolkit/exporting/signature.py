"""Names, dtypes and shapes of what a source model takes and gives."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tensor:
    """An input or output; a size of None is dynamic, the batch included; a text is its name."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives, in the model's own order."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def unique(name: str, taken: set[str]) -> str:
    """Return the name, with a number when it is taken, and note it."""
    number, candidate = 0, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate
