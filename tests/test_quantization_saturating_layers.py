"""Layers as AVX2 computes them, against an emulated Haswell, bit for bit."""

import numpy as np
import onnx
import pytest
from emulation import emulation, on_emulated_cpus
from onnx import TensorProto, numpy_helper
from saturation_models import Case, convolution, dense, product, saved

from toolkit.devices import open_device
from toolkit.quantization.saturating_layers import Layer, saturating_layers

__all__ = ["emulation"]

CASES: dict[str, Case] = {
    # Kernels for symmetric weights: 16 or more channels, of 4 or more.
    "1x1": convolution(2, (64, 6, 6), 32, (1, 1)),
    "3x3": convolution(2, (16, 8, 8), 32, (3, 3)),
    "3x3 wide": convolution(1, (64, 9, 9), 136, (3, 3), pads=[1, 1, 1, 1]),
    "3x3 padded, batch 1": convolution(1, (16, 8, 8), 32, (3, 3), pads=[1, 1, 1, 1]),
    "3x3 zero point 0": convolution(2, (16, 6, 6), 16, (3, 3), zero_point=0, pads=[1, 1, 1, 1]),
    "dilated": convolution(2, (8, 9, 9), 16, (3, 3), dilations=[2, 2]),
    "one scale": convolution(2, (16, 6, 6), 16, (3, 3), per_channel=False),
    # Matrix products of unfolded pictures.
    "1x1 odd": convolution(2, (37, 5, 6), 24, (1, 1)),
    "1x1 strided": convolution(2, (24, 9, 9), 20, (1, 1), strides=[2, 2]),
    "3x3 odd": convolution(2, (5, 8, 8), 16, (3, 3), pads=[1, 1, 1, 1]),
    "3x3 of one": convolution(4, (1, 12, 12), 16, (3, 3)),
    "3x3 to few": convolution(1, (8, 7, 7), 3, (3, 3)),
    "3x3 strided": convolution(2, (12, 9, 9), 20, (3, 3), strides=[2, 2], pads=[0, 0, 1, 1]),
    "same upper": convolution(2, (8, 9, 9), 16, (3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "same lower": convolution(2, (8, 8, 8), 16, (3, 3), auto_pad="SAME_LOWER", strides=[2, 2]),
    "1 dimension": convolution(2, (12, 20), 16, (5,)),
    "3 dimensions": convolution(1, (6, 5, 5, 5), 8, (3, 3, 3)),
    "grouped": convolution(2, (16, 7, 7), 24, (3, 3), group=2),
    "grouped odd": convolution(2, (15, 7, 7), 9, (3, 3), group=3, pads=[1, 1, 1, 1]),
    "grouped 1x1": convolution(8, (16, 7, 7), 24, (1, 1), group=4),
    "depthwise, 2 each": convolution(2, (6, 7, 7), 12, (3, 3), group=6),
    **{
        f"dense {rows}x{reach}x{channels}": dense(rows, reach, channels)
        for rows in (1, 2, 3, 5)
        for reach, channels in ((64, 64), (37, 30), (1600, 17))
    },
    "dense transposed": dense(4, 33, 18, transB=1),
    "dense scores": dense(4, 133, 18, scores=True),
    "dense scores, one": dense(1, 64, 18, scores=True, per_channel=False),
    "dense zero point 0, one": dense(1, 64, 40, zero_point=0),
    "dense alpha": dense(2, 64, 40, alpha=0.5),
    "linear product": product("QLinearMatMul", (3,), 37, 40),
    "linear product, one": product("QLinearMatMul", (1,), 64, 64, zero_point=0),
    "linear product of rank 3": product("QLinearMatMul", (2, 5), 64, 33, per_channel=True),
    "product, one": product("MatMulInteger", (1,), 64, 64, zero_point=0),
    "product odd, one": product("MatMulInteger", (1,), 63, 137, zero_point=0),
    "product odd": product("MatMulInteger", (4,), 63, 37),
    "product of rank 3": product("MatMulInteger", (2, 3), 66, 9, weight_zero_point=5),
    "product, zero points": product(
        "MatMulInteger", (4,), 66, 9, weight_zero_point=np.arange(-4, 5)
    ),
    "float product": product("MatMulIntegerToFloat", (3,), 64, 20, per_channel=True, bias=True),
    "float product of rank 3": product("MatMulIntegerToFloat", (2, 4), 65, 20),
}


def depthwise(channels: int) -> Case:
    """All weights are the largest."""
    weights = np.full((channels, 1, 3, 3), 127, np.int8)
    return convolution(2, (channels, 7, 7), channels, (3, 3), group=channels, weights=weights)


DEPTHWISE = {f"depthwise of {channels}": depthwise(channels) for channels in (1, 5, 16)}


def layers(model: onnx.ModelProto) -> list[Layer]:
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    return saturating_layers(model.graph, constants)


@pytest.fixture(scope="module")
def outputs(emulation, tmp_path_factory):
    """For each case what this machine gives, an emulated Haswell, and that one in exact mode."""
    folder = tmp_path_factory.mktemp("layers")
    both = {**CASES, **DEPTHWISE}
    runs = [saved(case, folder / f"{index}.onnx") for index, case in enumerate(both.values())]
    haswell = open_device("emulated:haswell")
    answers = (
        open_device("local").infer(runs, exact=True),
        haswell.infer(runs),
        haswell.infer(runs, exact=True),
    )
    found = zip(*(answer.outputs for answer in answers), strict=True)
    return {name: [each["y"] for each in three] for name, three in zip(both, found, strict=True)}


class TestOnHaswell:
    pytestmark = on_emulated_cpus

    @pytest.mark.parametrize("name", CASES)
    def test_saturated_outputs_are_equal_bit_for_bit(self, name, outputs):
        exact, saturated, _ = outputs[name]
        model, codes = CASES[name]
        [layer] = layers(model)
        # It does not matter on which kind of CPU the simulation runs.
        for here in (exact, saturated):
            computed = layer.compute({"x": codes, "y": here}, len(codes))
            assert np.array_equal(computed.saturated, saturated)
            assert np.array_equal(computed.exact, exact)
            assert np.any(saturated != exact) <= np.any(computed.clipped)

    def test_most_cases_saturate(self, outputs):
        differ = [name for name in CASES if np.any(outputs[name][0] != outputs[name][1])]
        assert len(differ) > 0.9 * len(CASES)

    @pytest.mark.parametrize("name", DEPTHWISE)
    def test_depthwise_convolutions_do_not_saturate(self, name, outputs):
        assert np.array_equal(outputs[name][0], outputs[name][1])
        assert layers(DEPTHWISE[name][0]) == []

    @pytest.mark.parametrize("name", CASES)
    def test_the_session_option_for_precision_makes_it_exact(self, name, outputs):
        assert np.array_equal(outputs[name][0], outputs[name][2])


def test_the_largest_products_saturate_at_15_bits():
    model, _ = product("MatMulInteger", (1,), 64, 1, zero_point=0)
    weights = next(each for each in model.graph.initializer if each.name == "w")
    weights.CopyFrom(numpy_helper.from_array(np.full((64, 1), 127, np.int8), "w"))
    [layer] = layers(model)
    exact = np.array([[255 * 127 * 64]], np.int32)
    computed = layer.compute({"x": np.full((1, 64), 255, np.uint8), "y": exact}, 1)
    assert computed.saturated == 32 * 32767
    assert computed.clipped.tolist() == [32]
    assert computed.sums == 32


def test_clipped_sums_are_counted_for_each_sample():
    case = convolution(3, (4, 5, 5), 16, (3, 3), weights=np.full((16, 4, 3, 3), 127, np.int8))
    [layer] = layers(case[0])
    pictures = np.zeros((3, 4, 5, 5), np.uint8)
    pictures[1, :, 0, 0] = 255  # in one patch only
    pictures[2, :2, 2, 2] = 255  # in all nine, but in one pair of channels
    here = np.zeros((3, 16, 3, 3), np.uint8)
    computed = layer.compute({"x": pictures, "y": here}, 3)
    assert computed.clipped.tolist() == [0, 2 * 16, 9 * 16]
    assert computed.sums == 3 * 9 * 18 * 16


@pytest.mark.parametrize(("kind", "count"), [(np.int8, 1), (np.uint8, 0)])
def test_only_signed_weights_saturate(kind, count):
    model, _ = product("MatMulInteger", (1,), 8, 4)
    for each in model.graph.initializer:
        if each.name in ("w", "wz"):
            array = numpy_helper.to_array(each).astype(kind)
            each.CopyFrom(numpy_helper.from_array(array, each.name))
    assert len(layers(model)) == count


def test_signed_activations_have_exact_kernels():
    model, _ = convolution(1, (8, 4, 4), 16, (3, 3))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT8
    assert layers(model) == []


def test_a_layer_is_exposed_when_two_neighbouring_weights_are_large():
    weights = np.zeros((16, 4, 1, 1), np.int8)
    weights[3, 1:3] = 127  # the second and the third channel are in different pairs
    [layer] = layers(convolution(1, (4, 4, 4), 16, (1, 1), weights=weights)[0])
    assert not layer.exposed
    weights[3, 0] = 2
    [layer] = layers(convolution(1, (4, 4, 4), 16, (1, 1), weights=weights)[0])
    assert layer.exposed
    assert layer.largest_pair_sums[3] == 129
