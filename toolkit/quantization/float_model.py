"""The float model: prepared once, its activations measured once, however many candidates follow."""

from collections.abc import Iterable
from pathlib import Path

import onnx_ir as ir

from toolkit.quantization.calibration import Ranges, calibrate
from toolkit.quantization.preparing import Prepared, prepare
from toolkit.quantization.recipe import Recipe
from toolkit.quantization.samples import Data


class FloatModel:
    """A float model in the form that the quantizer needs, and the ranges of its activations.

    Attributes:
        path: Its file.
        data: Samples to calibrate with; None suffices for a dynamic recipe.
        repairs: What had to be done to it first, in words.
        nodes: The names of its nodes, in their order.
    """

    def __init__(self, path: Path, data: Data | None, prepared: Prepared | None = None) -> None:
        """Prepare the model.

        Args:
            path: The file.
            data: Samples to calibrate with.
            prepared: What was made of the file already; by default it is read now.

        Raises:
            ModelError: The file cannot be quantized.
        """
        self.path = path
        self.data = data
        prepared = prepared or prepare(path)
        self.repairs = prepared.repairs
        self.nodes = tuple(str(node.name) for node in prepared.model.graph)
        self._model = prepared.model
        self._ranges: dict[str, Ranges] = {}

    def copy(self) -> ir.Model:
        """Return the graph to change at will; the weights are shared."""
        return self._model.clone()

    def ranges(self, names: Iterable[str], recipe: Recipe) -> Ranges:
        """Return the ranges of activations; those that no candidate asked for before are measured.

        Args:
            names: float32 tensors of the graph.
            recipe: How to measure, and the integers that will stand for the activations.

        Raises:
            DataError: The samples do not fit the model, or an activation is not finite.
            ValueError: There are no samples.
        """
        if self.data is None:
            raise ValueError("static quantization needs samples")
        wanted = list(names)
        key = recipe.calibration.model_dump_json() + recipe.activations.model_dump_json()
        known = self._ranges.get(key)
        missing = [name for name in wanted if known is None or name not in known.ranges]
        if missing or known is None:
            found = calibrate(
                ir.to_proto(self._model),
                missing,
                self.data.calibration,
                recipe.calibration,
                recipe.activations,
                samples_key=self.data.key,
            )
            known = found if known is None else known.joined(found)
            self._ranges[key] = known
        return known.of(wanted)
