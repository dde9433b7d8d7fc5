"""Golden samples stay with the model, small, and notice when they are not its own."""

import base64
import io
import json
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from toolkit import contract, golden
from toolkit.contract import Contract, InputSpec, OutputSpec
from toolkit.errors import ModelError
from toolkit.golden import Golden, attach, load_model, read

RNG = np.random.default_rng(0)
MADE = {"onnxruntime": "1.0", "cpu": "x", "cpu_features": []}


@pytest.fixture
def path(tmp_path):
    x, y = (helper.make_tensor_value_info(n, TensorProto.UINT8, ["batch", 4]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", [x], [y])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    promise = Contract(
        "same",
        (InputSpec("x", "uint8", ("batch", 4)),),
        (OutputSpec("y", "uint8", ("batch", 4)),),
        evidence=({"check": "parity"},),
    )
    helper.set_model_props(model, {contract.KEY: promise.to_json(), "other": "kept"})
    path = tmp_path / "same.onnx"
    onnx.save(model, path)
    return path


def samples(count, size=4):
    values = RNG.integers(0, 256, (count, size), np.uint8)
    return Golden({"x": values}, {"y": values}, MADE, "mnist")


def stored(path):
    return read(load_model(path), path)


def test_they_come_back_as_they_were_attached(path):
    given = samples(5)
    attach(path, given)
    found = stored(path)
    assert np.array_equal(found.inputs["x"], given.inputs["x"])
    assert np.array_equal(found.outputs["y"], given.outputs["y"])
    assert (found.made, found.data, found.current, len(found)) == (MADE, "mnist", True, 5)


def test_everything_else_in_the_file_stays(path):
    before = load_model(path)
    attach(path, samples(3))
    attach(path, samples(2))
    after = load_model(path)
    assert after.graph == before.graph
    metadata = {entry.key: entry.value for entry in after.metadata_props}
    assert metadata["other"] == "kept"
    evidence = contract.from_metadata(metadata).evidence
    assert [entry["check"] for entry in evidence] == ["parity", "golden"]
    assert (evidence[1]["samples"], evidence[1]["data"]) == (2, "mnist")
    assert len(evidence[1]["sha256"]) == 64


def test_a_model_without_a_contract_carries_them_too(path):
    model = load_model(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    attach(path, samples(1))
    assert len(stored(path)) == 1


@pytest.mark.parametrize(("count", "size", "kept"), [(20, 4, 8), (8, 2000, 1), (8, 100_000, 1)])
def test_no_more_are_kept_than_take_little_room(path, count, size, kept):
    assert len(attach(path, samples(count, size))) == kept
    assert len(stored(path)) == kept


def test_another_graph_is_noticed(path):
    attach(path, samples(1))
    model = load_model(path)
    model.graph.node[0].name = "renamed"
    onnx.save(model, path)
    assert not stored(path).current


def test_a_file_without_any_has_none(path):
    assert stored(path) is None


def bomb():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("inputs/x.npy", bytes(2 << 20))
    return base64.b85encode(archive.getvalue()).decode()


def pickled():
    archive = io.BytesIO()
    np.savez(archive, **{"inputs/x": np.array([{}], object)})
    return base64.b85encode(archive.getvalue()).decode()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "{",
        lambda text: "[]",
        lambda text: "{}",
        lambda text: json.dumps({**json.loads(text), "version": 2}),
        lambda text: json.dumps({**json.loads(text), "arrays": "no base 85 \x01"}),
        lambda text: json.dumps({**json.loads(text), "arrays": json.loads(text)["arrays"][:-50]}),
        lambda text: json.dumps({**json.loads(text), "arrays": 5}),
        lambda text: json.dumps({**json.loads(text), "arrays": bomb()}),
        lambda text: json.dumps({**json.loads(text), "arrays": pickled()}),
        lambda text: json.dumps({**json.loads(text), "made": 1}),
    ],
)
def test_damaged_ones_are_an_error_of_one_line(path, change, monkeypatch):
    monkeypatch.setattr(golden, "_MAX_BYTES", 1 << 20)
    attach(path, samples(1))
    model = load_model(path)
    for entry in model.metadata_props:
        if entry.key == golden.KEY:
            entry.value = change(entry.value)
    onnx.save(model, path)
    with pytest.raises(ModelError, match="cannot be read") as error:
        stored(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"does not exist|is empty|no ONNX model"):
        load_model(path)
