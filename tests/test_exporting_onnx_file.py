"""ONNX files of any origin: brought to the opset, cleaned, compared with themselves."""

import sys

import numpy as np
import onnx
import pytest
from onnx import parser
from source_exports import export_here

from toolkit.contract import from_metadata
from toolkit.errors import ModelError, RecipeError
from toolkit.exporting import child, export, parity

WEIGHTS = ",".join(str(value) for value in np.random.default_rng(0).normal(0, 1, 768).round(3))
DENSE = f"""g (float[N,3,8,8] x) => (float[N,4] y)
    <float[4,192] w = {{{WEIGHTS}}}, float[4] b = {{1, 2, 3, 4}}, float[4] unused = {{0, 0, 0, 0}}>
    {{ a = Identity(x) f = Flatten<axis=1>(a) y = Gemm<transB=1>(f, w, b) }}"""


def write(path, graph, *, opset=17, ir=8, rest=""):
    imports = f'<ir_version: {ir}, opset_import: ["" : {opset}{rest}]>'
    onnx.save(parser.parse_model(f"{imports} {graph}"), path)
    return path


@pytest.fixture
def model(tmp_path):
    return write(tmp_path / "model.onnx", DENSE, opset=9, ir=4)


def test_an_old_file_is_upgraded_cleaned_and_compared(model, tmp_path):
    result = export(model, tmp_path / "new.onnx")

    assert (result.opset, result.ir_version) == (17, 8)
    assert result.parity.passed
    assert result.parity.computed_by == "the original"
    written = onnx.load(result.path)
    assert {entry.name for entry in written.graph.initializer}.isdisjoint({"unused"})
    assert "Identity" not in {node.op_type for node in written.graph.node}
    contract = from_metadata({entry.key: entry.value for entry in written.metadata_props})
    assert contract.inputs[0].image.layout == "NCHW"
    assert contract.inputs[0].shape == ("N", 3, 8, 8)
    assert contract.provenance[-1]["step"] == "export"
    onnx.checker.check_model(written, full_check=True)


def test_tensorflow_is_not_needed(model, tmp_path, monkeypatch):
    monkeypatch.setattr(child, "require_tensorflow", None)

    export(model, tmp_path / "new.onnx")


def test_pixels_go_into_the_graph_on_demand(model, tmp_path):
    result = export(model, tmp_path / "new.onnx", input="uint8", batch=2)

    (spec,) = result.contract.inputs
    assert (spec.dtype, spec.shape) == ("uint8", (2, 3, 8, 8))


def test_a_quantized_file_may_differ_by_one_code(tmp_path):
    path = write(
        tmp_path / "int8.onnx",
        """g (float[N,3,8,8] x) => (float[N,192] y)
        <float scale = {0.02}, uint8 zero = {128}>
        { q = QuantizeLinear(x, scale, zero) d = DequantizeLinear(q, scale, zero)
           y = Flatten<axis=1>(d) }""",
    )

    loaded, _, compared = export_here(path)

    assert loaded.arithmetic == "integer"
    assert compared.limit == parity.INTEGER_LIMIT < parity.APPROXIMATE_LIMIT
    assert compared.passed


def test_weights_that_are_listed_as_inputs_are_none(model):
    old = onnx.load(model)
    old.ir_version = 3
    del old.graph.initializer[2]
    old.graph.input.append(onnx.helper.make_tensor_value_info("w", 1, [4, 192]))
    onnx.save(old, model)

    loaded, converted, compared = export_here(model)

    assert compared.passed
    assert [value.name for value in converted.graph.inputs] == ["x"]
    assert len(loaded.contract.inputs) == 1


def test_the_contract_of_a_file_is_kept(model, tmp_path):
    first = export(model, tmp_path / "first.onnx", input="uint8")

    second = export(tmp_path / "first.onnx", tmp_path / "second.onnx")

    assert second.contract.inputs == first.contract.inputs
    assert [step["step"] for step in second.contract.provenance] == ["export", "export"]


def test_functions_are_inlined(tmp_path):
    path = write(
        tmp_path / "functions.onnx",
        """g (float[N,4] x) => (float[N,4] y) { y = own.twice(x) }
        <domain: "own", opset_import: ["" : 17]> twice (x) => (y) { y = Add(x, x) }""",
        rest=', "own" : 1',
    )

    _, converted, compared = export_here(path)

    assert compared.passed
    assert {node.op_type for node in converted.graph} == {"Add"}


def test_a_newer_opset_is_kept_unless_another_is_asked_for(tmp_path):
    path = write(
        tmp_path / "new.onnx", "g (float[N,8] x) => (float[N,8] y) { y = Gelu(x) }", opset=21, ir=10
    )

    kept = export(path, tmp_path / "kept.onnx")
    lowered = export(path, tmp_path / "lowered.onnx", opset=20)

    assert (kept.opset, kept.ir_version) == (21, 10)
    assert (lowered.opset, lowered.ir_version) == (20, 9)
    with pytest.raises(ModelError, match="opset 21 to 17: No Previous Version of Gelu exists"):
        export(path, tmp_path / "x.onnx", opset=17)
    assert not (tmp_path / "x.onnx").exists()


def test_a_fixed_batch_stays_fixed(tmp_path):
    path = write(tmp_path / "fixed.onnx", "g (float[3,8] x) => (float[3,8] y) { y = Softmax(x) }")

    result = export(path, tmp_path / "new.onnx")

    assert result.parity.batches == (3,)
    assert result.contract.inputs[0].shape == (3, 8)
    with pytest.raises(RecipeError, match="has the fixed batch size 3"):
        export(path, tmp_path / "x.onnx", batch=4)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ("g (float x) => (float y) { y = Relu(x) }", "'x' is a single number"),
        ("g () => (float[1] y) { y = Constant<value = float[1] {1.0}>() }", "has no inputs"),
        ("g (float[N,2] x) => (float[N,2] y) { y = Nonsense(x) }", "cannot be run by onnxruntime"),
        ("g (seq(float[N]) x) => (int64 y) { y = SequenceLength(x) }", "is a sequence_type"),
        ("g (float[2,2] x, float[3,2] y) => (float[2,2] z) { z = Relu(x) }", "different sizes"),
    ],
)
def test_what_cannot_be_exported_is_one_line(tmp_path, graph, message):
    path = write(tmp_path / "odd.onnx", graph)

    with pytest.raises(ModelError, match=message) as caught:
        export(path, tmp_path / "x.onnx")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize("content", [b"\xff" * 50, b"hello", b"\x08\x08"])
def test_what_is_no_onnx_file_is_one_line(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=r"no ONNX (file|model)"):
        export(path, tmp_path / "x.onnx")


def test_weights_outside_of_the_folder_are_not_read(tmp_path):
    (tmp_path / "inside").mkdir()
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {DENSE}')
    model.graph.initializer[0].ClearField("float_data")
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "../secret"
    (tmp_path / "secret").write_bytes(bytes(4 * 768))
    onnx.save(model, tmp_path / "inside" / "model.onnx")

    with pytest.raises(ModelError, match="cannot be read"):
        export(tmp_path / "inside" / "model.onnx", tmp_path / "x.onnx")


def test_the_parent_imports_no_tensorflow(model, tmp_path):
    export(model, tmp_path / "new.onnx")
    import subprocess

    code = (
        "import sys; from toolkit.exporting import export; export(*sys.argv[1:3]); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(model), str(tmp_path / "again.onnx")], check=True
    )
