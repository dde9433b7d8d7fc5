"""Whole networks on x86 CPUs without VNNI: simulated, emulated, and avoided."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from emulation import emulation, on_emulated_cpus
from onnx import numpy_helper
from quantization_models import cnn, dense, labelled

import toolkit
from toolkit.cli import toolkit as command
from toolkit.contract import InputSpec, OutputSpec
from toolkit.datasets import load_dataset
from toolkit.devices import open_device
from toolkit.errors import RecipeError
from toolkit.quantization import saturated_network, saturation
from toolkit.quantization.recipe import read_recipe
from toolkit.quantization.samples import Samples
from toolkit.quantization.saturated_network import SaturatedNetwork
from toolkit.quantization.saturation import simulate

__all__ = ["emulation"]

ALL = 'portable = true\n{}[placement]\nslow_convolutions = "int8"\nlast_layer = "int8"\n'
SIGNED = '[activations]\ntype = "int8"\n'
RECIPES = {
    "qdq": ALL.format(""),
    "qoperator": ALL.format('format = "qoperator"\n'),
    "signed": ALL.format("") + SIGNED,
}
IMAGES = 64


def recipe(folder: Path, name: str, more: str = "") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(f'description = "all in int8"\n{RECIPES[name]}{more}')
    return path


def samples_of(path: Path, name: str = "x") -> Samples:
    with np.load(path) as archive:
        images = archive[name][..., None]
    spec = InputSpec("image", "uint8", ("batch", *images.shape[1:]))
    return Samples((spec,), {"image": images})


def codes(model: onnx.ModelProto, form: str) -> list[str]:
    """The 8-bit tensors between the layers.

    Where they are signed onnxruntime could not turn them into unsigned ones if they were outputs.
    """
    if form == "signed":
        return []
    quantizing = ("QuantizeLinear", "QLinearConv", "QGemm")
    return [node.output[0] for node in model.graph.node if node.op_type in quantizing]


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """The MNIST CNN all in int8, in each form, with all 8-bit tensors as outputs."""
    folder = tmp_path_factory.mktemp("mnist")
    made = {}
    for name in RECIPES:
        path = folder / f"{name}.onnx"
        toolkit.quantize("mnist_cnn", path, recipe=recipe(folder, name), data="mnist", samples=100)
        model = onnx.load(path)
        for tensor in codes(model, name):
            value = onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.UINT8, None)
            model.graph.output.append(value)
        onnx.save(model, path)
        made[name] = path
    return made


@pytest.fixture(scope="module")
def images():
    return np.ascontiguousarray(load_dataset("mnist").test.images[slice(0, IMAGES)][..., None])


@pytest.fixture(scope="module")
def answers(emulation, mnist, images):
    """What this machine and an emulated Haswell give."""
    runs = [(path, {"image": images}) for path in mnist.values()]
    exact = open_device("local").infer(runs, exact=True).outputs
    saturated = open_device("emulated:haswell").infer(runs).outputs
    return dict(zip(mnist, zip(exact, saturated, strict=True), strict=True))


@pytest.mark.parametrize("name", RECIPES)
class TestMnistOnHaswell:
    pytestmark = on_emulated_cpus

    def test_every_int8_tensor_is_the_simulated_one(self, name, mnist, images, answers):
        exact, saturated = answers[name]
        model = onnx.load(mnist[name])
        names = codes(model, name)
        [scores, *tensors], computed = SaturatedNetwork(model, ["probabilities", *names]).run(
            {"image": images}
        )
        assert sum(int(layer.clipped.sum()) for layer in computed) > 0
        for tensor, simulated in zip(names, tensors, strict=True):
            assert np.array_equal(simulated, saturated[tensor]), tensor
        # Softmax itself is in float.
        assert np.abs(scores - saturated["probabilities"]).max() < 2e-6
        assert np.abs(scores - exact["probabilities"]).max() > 1 / 255

    def test_the_values_that_differ_are_those_that_the_simulation_changed(
        self, name, mnist, images, answers
    ):
        exact, saturated = answers[name]
        model = onnx.load(mnist[name])
        _, computed = SaturatedNetwork(model, ["probabilities"]).run({"image": images})
        for tensor in codes(model, name)[:1]:
            # Behind the first layer the inputs differ, too.
            different = np.count_nonzero(exact[tensor] != saturated[tensor])
            first = computed[0]
            assert different == np.count_nonzero(first.exact != first.saturated) > 0

    def test_the_report_tells_how_far_the_answer_moves(self, name, mnist, images, answers):
        exact, saturated = (each["probabilities"] for each in answers[name])
        spec = InputSpec("image", "uint8", ("batch", 28, 28, 1))
        scores = OutputSpec("probabilities", "float32", ("batch", 10), "probabilities")
        found = simulate(onnx.load(mnist[name]), Samples((spec,), {"image": images}), scores)
        moved = 255 * np.abs(exact.astype(float) - saturated).max() / np.ptp(exact.astype(float))
        assert found.answer_steps == pytest.approx(moved, abs=1e-3)
        kept = np.mean(exact.argmax(1) == saturated.argmax(1))
        assert found.agreement == kept
        assert "conv2d/BiasAdd" in [layer.name for layer in found.clipped]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return cnn(tmp_path / "cnn.onnx")


@pytest.fixture
def data(tmp_path: Path, model: Path) -> Path:
    return labelled(tmp_path / "data.npz", model)


def quantized(model: Path, data: Path, folder: Path, name: str, more: str = "") -> tuple:
    result = toolkit.quantize(
        model, folder / f"{name}{len(more)}.onnx", data=data, recipe=recipe(folder, name, more)
    )
    return result, onnx.load(result.path)


@pytest.mark.parametrize("form", RECIPES)
class TestWeightsInRange:
    def test_full_range_clips_and_the_layers_are_named(self, form, model, data, tmp_path):
        result, int8 = quantized(model, data, tmp_path, form)
        found = result.saturation
        assert found.layers == 3
        assert {layer.name for layer in found.clipped} <= {"conv1", "conv2", "dense"}
        assert {layer.weight for layer in found.clipped} <= set(weights(int8))
        [first, *_] = found.clipped
        assert 0 < first.clipped < first.sums
        assert set(first.samples) <= set(range(found.samples))

    def test_where_needed_nothing_clips_and_other_layers_keep_8_bits(
        self, form, model, data, tmp_path
    ):
        full, before = quantized(model, data, tmp_path, form)
        result, after = quantized(
            model, data, tmp_path, form, '[weights]\nreduce_range = "where_needed"\n'
        )
        assert full.saturation.clipped
        assert result.saturation.clipped == ()
        clipped = {layer.weight for layer in full.saturation.clipped}
        for name, old in weights(before).items():
            new = weights(after)[name]
            assert (name in clipped) == (not np.array_equal(old, new))
            # A whole bit is lost at most in a channel with two neighbours of the largest weight.
            assert np.abs(new.astype(int)).max() >= 63
        assert result.test.sqnr_db > 20

    def test_7_bits_cannot_clip(self, form, model, data, tmp_path):
        result, after = quantized(model, data, tmp_path, form, "[weights]\nreduce_range = true\n")
        assert result.saturation.exposed == 0
        assert max(np.abs(each.astype(int)).max() for each in weights(after).values()) <= 64

    def test_one_scale_for_all_channels_is_widened_too(self, form, model, data, tmp_path):
        more = '[weights]\nper_channel = false\nreduce_range = "where_needed"\n'
        result, after = quantized(model, data, tmp_path, form, more)
        assert result.saturation.clipped == ()
        assert len(weights(after)) == 3


def weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The int8 weights, by the names that they had in float."""
    arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    return {
        name.removesuffix("_quantized"): array
        for name, array in arrays.items()
        if array.dtype == np.int8 and array.ndim > 1
    }


def test_dark_samples_do_not_clip(model, data, tmp_path):
    _, int8 = quantized(model, data, tmp_path, "qdq")
    bright = samples_of(data).head(3)
    pictures = bright.arrays["image"][slice(0, 3)].copy()
    pictures[1] = 0
    found = simulate(int8, Samples(bright.specs, {"image": pictures}))
    first = next(layer for layer in found.clipped if layer.name == "conv1")
    assert first.samples == (0, 2)


def test_large_networks_are_run_on_fewer_samples(model, data, tmp_path, monkeypatch):
    _, int8 = quantized(model, data, tmp_path, "qdq")
    monkeypatch.setattr(saturation, "_WORK", 1)
    assert simulate(int8, samples_of(data)).samples == 8


def test_a_fixed_batch_is_filled_up(model, data, tmp_path):
    _, int8 = quantized(model, data, tmp_path, "qdq")
    samples = samples_of(data).head(9)
    free = simulate(int8, samples)
    for value in (*int8.graph.input, *int8.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    fixed = simulate(int8, samples)
    assert [(one.clipped, one.samples, one.sums) for one in fixed.clipped] == [
        (one.clipped, one.samples, one.sums) for one in free.clipped
    ]


def test_layers_that_share_their_weights_are_widened_together(tmp_path):
    names = ("x0", "x1")
    model = dense(tmp_path / "shared.onnx", inputs=2)
    random = np.random.default_rng(0)
    feeds = [{name: random.normal(size=(40, 8)).astype(np.float32) for name in names}]
    full = toolkit.quantize(model, tmp_path / "a.onnx", data=feeds, recipe=recipe(tmp_path, "qdq"))
    assert full.saturation.layers == 3
    result = toolkit.quantize(
        model, tmp_path / "b.onnx", data=feeds,
        recipe=recipe(tmp_path, "qdq", '[weights]\nreduce_range = "where_needed"\n'),
    )  # fmt: skip
    assert result.saturation.clipped == ()


def test_a_cpu_that_saturates_gives_the_same_report(model, data, tmp_path, monkeypatch):
    _, int8 = quantized(model, data, tmp_path, "qdq")
    samples = samples_of(data).head(9)
    here = simulate(int8, samples)
    monkeypatch.setattr(saturated_network, "cpu_features", lambda: frozenset({"avx2"}))
    assert simulate(int8, samples) == here


def test_the_recipe_for_avx2_keeps_8_bits_where_nothing_clips(model, data, tmp_path):
    made = {
        name: toolkit.quantize(model, tmp_path / f"{name}.onnx", data=data, recipe=name)
        for name in ("int8", "int8-x86-avx2")
    }
    assert made["int8"].saturation.clipped
    assert made["int8-x86-avx2"].saturation.clipped == ()
    assert made["int8-x86-avx2"].saturation.layers == made["int8"].saturation.layers


def test_models_for_gpus_are_not_simulated(model, data, tmp_path):
    for name in ("fp16", "int8-tensorrt"):
        made = toolkit.quantize(model, tmp_path / f"{name}.onnx", data=data, recipe=name)
        assert made.saturation is None


def test_a_dynamic_recipe_is_simulated_one_sample_at_a_time(model, data, tmp_path):
    result = toolkit.quantize(model, tmp_path / "d.onnx", data=data, recipe="int8-dynamic")
    assert result.saturation.layers == 1
    [layer] = result.saturation.clipped
    assert layer.name == "dense"


def test_where_needed_has_to_be_measured(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(
        'description = "x"\nmethod = "dynamic"\n[weights]\nreduce_range = "where_needed"\n'
    )
    with pytest.raises(RecipeError, match="found on calibration samples, which need"):
        read_recipe(path)


def test_the_report_the_json_and_the_contract_have_it(model, data, tmp_path):
    out = tmp_path / "a.onnx"
    arguments = ["quantize", str(model), "--data", str(data), "-o", str(out)]
    rules = ["--recipe", str(recipe(tmp_path, "qdq"))]
    printed = CliRunner().invoke(command, [*arguments, *rules])
    assert "int8 layers clip on" in " ".join(printed.stdout.split())
    assert "the recipe int8-x86-avx2 avoids it" in " ".join(printed.stdout.split())
    document = json.loads(
        CliRunner().invoke(command, [*arguments, *rules, "--force", "--json"]).stdout
    )
    found = document["saturation"]
    assert found["layers"] == 3
    assert found["clipped_samples"] > 0
    assert {"name", "clipped_sums", "sums", "samples", "output_steps"} == set(
        found["clipped_layers"][0]
    )
    contract = json.loads(next(iter(onnx.load(out).metadata_props)).value)
    [evidence] = [each for each in contract["evidence"] if each["check"] == "saturation"]
    assert evidence["clipped_layers"] == [layer["name"] for layer in found["clipped_layers"]]


def test_answers_that_change_are_a_warning(model, data, tmp_path):
    result, _ = quantized(model, data, tmp_path, "qdq")
    found = result.saturation
    changed = found.answer_steps > 1 or found.agreement < 1
    [*warned] = [text for text in result.warnings if "On x86 CPUs without VNNI" in text]
    assert bool(warned) == changed
