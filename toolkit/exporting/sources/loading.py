"""Loads a source of any kind. Runs in the child process."""

from collections.abc import Callable

from toolkit.exporting.sources import keras3
from toolkit.exporting.sources.model import SourceModel
from toolkit.exporting.sources.source import Kind, Source

LOADERS: dict[Kind, Callable[[Source], SourceModel]] = {
    "keras": keras3.load,
    "h5": keras3.load,
}


def load(source: Source) -> SourceModel:
    """Load a model.

    Raises:
        ModelError: It cannot be loaded.
    """
    return LOADERS[source.kind](source)
