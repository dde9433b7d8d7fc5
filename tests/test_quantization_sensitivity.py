from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from quantization_models import cnn, initializer, labelled, save, tensor, weights

from toolkit.quantization.budget import Budget
from toolkit.quantization.candidate import Candidate
from toolkit.quantization.float_model import FloatModel
from toolkit.quantization.recipe import read_recipe
from toolkit.quantization.running import Runner
from toolkit.quantization.samples import from_data
from toolkit.quantization.sensitivity import Sensitivity, measure_sensitivity
from toolkit.quantization.trials import Trials
from toolkit.runtime import load


def measured(model: Path, data: object, recipe: str | Path) -> list[Sensitivity]:
    contract = load(model).contract
    source = FloatModel(model, from_data(data, contract, count=200, seed=0))  # type: ignore[arg-type]
    reference = Runner(model, [contract.outputs[0].name])
    trials = Trials(source, reference, contract.outputs[0], Budget(min_sqnr=0))
    return measure_sensitivity(trials, trials.run(Candidate(read_recipe(recipe)[1])).built)


def uneven(path: Path) -> Path:
    """Three layers: the second has one large weight, the third hides what comes of it."""
    coarse, hiding = weights((12, 12), 2), weights((12, 4), 3)
    coarse[3, 3] = 100
    return save(
        path,
        [
            helper.make_node("Gemm", ["x", "w0"], ["h0"], "fine"),
            helper.make_node("Tanh", ["h0"], ["t0"], "tanh"),
            helper.make_node("Gemm", ["t0", "w1"], ["h1"], "coarse"),
            helper.make_node("Relu", ["h1"], ["r1"], "relu"),
            helper.make_node("Gemm", ["r1", "w2"], ["y"], "last"),
        ],
        [tensor("x", ["batch", 8])],
        [tensor("y", ["batch", 4])],
        [
            initializer("w0", weights((8, 12), 1)),
            initializer("w1", coarse),
            initializer("w2", hiding),
        ],
    )


@pytest.fixture
def per_tensor(tmp_path: Path) -> Path:
    path = tmp_path / "tensor.toml"
    path.write_text('description = "one scale per tensor"\n[weights]\nper_channel = false\n')
    return path


def test_the_layer_that_makes_most_noise_comes_first(tmp_path: Path, per_tensor: Path) -> None:
    feeds = [{"x": np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)}]
    found = measured(uneven(tmp_path / "m.onnx"), feeds, per_tensor)
    assert {layer.name for layer in found} == {"fine", "coarse", "last"}
    assert found[0].name == "coarse"
    effects = [layer.effect_db for layer in found]
    assert effects == sorted(effects)
    assert found[0].sqnr_db is not None
    assert found[0].sqnr_db < 45


@pytest.mark.parametrize("recipe", ["int8", "int8-qoperator", "weights-int8", "int8-tensorrt"])
def test_every_layer_of_every_recipe_is_measured(tmp_path: Path, recipe: str) -> None:
    model = cnn(tmp_path / "cnn.onnx", channels=3)
    found = measured(model, labelled(tmp_path / "d.npz", model, channels=3), recipe)
    expected = {"int8": {"conv2", "dense"}, "weights-int8": {"dense"}}
    assert {layer.name for layer in found} == expected.get(recipe, {"conv1", "conv2", "dense"})
    assert all(15 < layer.effect_db < 120 for layer in found)
