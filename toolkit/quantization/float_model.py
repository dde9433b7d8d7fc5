"""The float model: prepared once, its activations measured once, however many candidates follow."""

from collections.abc import Iterable
from pathlib import Path

import onnx
import onnx_ir as ir

from toolkit.graph.passes.equalize_layers import equalize_layers
from toolkit.quantization.bias_correction import Shifts
from toolkit.quantization.calibration import Ranges, calibrate
from toolkit.quantization.preparing import Prepared, prepare
from toolkit.quantization.ranges import Range
from toolkit.quantization.recipe import Activations, Calibration, Recipe
from toolkit.quantization.samples import Data


class FloatModel:
    """A float model in the form that the quantizer needs, and the ranges of its activations.

    Attributes:
        path: Its file.
        data: Samples to calibrate with; None suffices for a dynamic recipe.
        repairs: What had to be done to it first, in words.
        nodes: The names of its nodes, in their order.
        tensors: The names of what it computes, and of its inputs.
        shifts: What biases were found to be off by (`toolkit.quantization.bias_correction`).
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
        values = [value for node in prepared.model.graph for value in node.outputs]
        self.tensors = frozenset(
            str(value.name) for value in (*prepared.model.graph.inputs, *values)
        )
        self._model = prepared.model
        self.shifts: Shifts = {}
        self._ranges: dict[str, Ranges] = {}
        self._extremes: dict[str, Range] = {}
        self._equalized: FloatModel | None = None

    def copy(self) -> ir.Model:
        """Return the graph to change at will; the weights are shared."""
        return self._model.clone()

    def proto(self) -> onnx.ModelProto:
        """Return the graph to run."""
        return ir.to_proto(self._model)

    def of(self, recipe: Recipe) -> "FloatModel":
        """Return the float model that a recipe starts from: this one, or its equalized form."""
        if not recipe.equalization:
            return self
        if self._equalized is None:
            model = self.copy()
            pairs = equalize_layers(model)
            done = (f"{pairs} pairs of layers equalized",) if pairs else ()
            prepared = Prepared(model, (*self.repairs, *done))
            self._equalized = FloatModel(self.path, self.data, prepared)
        return self._equalized

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
                self.proto(),
                missing,
                self.data.calibration,
                recipe.calibration,
                recipe.activations,
                samples_key=self.data.key,
            )
            known = found if known is None else known.joined(found)
            self._ranges[key] = known
        return known.of(wanted)

    def extremes(self, names: Iterable[str]) -> dict[str, Range]:
        """Return the smallest and largest value of activations on all but the test samples.

        Args:
            names: float32 tensors of the graph.

        Raises:
            DataError: The samples do not fit the model, or an activation is not finite.
            ValueError: There are no samples.
        """
        if self.data is None:
            raise ValueError("extremes are measured on samples")
        wanted = list(names)
        if any(name not in self._extremes for name in wanted):
            parts = [
                calibrate(self.proto(), wanted, samples, Calibration(), Activations()).ranges
                for samples in (self.data.calibration, self.data.validation)
            ]
            for name in wanted:
                lows, highs = zip(*(part[name] for part in parts), strict=True)
                self._extremes[name] = (min(lows), max(highs))
        return {name: self._extremes[name] for name in wanted}
