"""Session options in the contract: kept, applied wherever a model is opened, never ignored."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from test_quantization_optimizer_check import padded_pooling

from toolkit.contract import KEY, Contract, InputSpec, OutputSpec, Session, from_json
from toolkit.devices.local import LocalDevice
from toolkit.errors import ModelError
from toolkit.measuring.profile import profile
from toolkit.runtime import load
from toolkit.runtime.session import create_session

CONTRACT = Contract(
    "pooling",
    (InputSpec("x", "float32", ("n", 1, 6, 6)),),
    (OutputSpec("y", "float32", ("n", 4, 4, 4)),),
)
GUILTY = Session(disabled_optimizers=("Pad_Fusion",))
FEEDS = {"x": np.random.default_rng(0).random((4, 1, 6, 6)).astype(np.float32)}


def written(path: Path, session: Session) -> Path:
    model = padded_pooling(0.0)
    contract = dataclasses.replace(CONTRACT, session=session)
    helper.set_model_props(model, {KEY: contract.to_json()})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("session", [Session(), GUILTY, Session(("A", "B"), 2)])
def test_session_options_survive_the_json(session: Session) -> None:
    contract = dataclasses.replace(CONTRACT, session=session)
    assert from_json(contract.to_json()).session == session
    assert ("session" in contract.to_dict()) is (session != Session())


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"arena": False}, "'arena', which this toolkit does not know"),
        ({"threads": 0}, "damaged"),
        ({"threads": "many"}, "damaged"),
        ({"disabled_optimizers": 3}, "damaged"),
    ],
)
def test_an_option_that_cannot_be_applied_is_an_error(
    tmp_path: Path, entry: object, message: str
) -> None:
    document = {**CONTRACT.to_dict(), "session": entry}
    model = padded_pooling(0.0)
    helper.set_model_props(model, {KEY: json.dumps(document)})
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=message) as caught:
        create_session(tmp_path / "m.onnx")
    assert "m.onnx" in str(caught.value)
    with pytest.raises(ModelError, match=message):
        load(tmp_path / "m.onnx")


def test_a_disabled_optimizer_is_left_out_wherever_the_model_runs(tmp_path: Path) -> None:
    wrong = written(tmp_path / "wrong.onnx", Session())
    right = written(tmp_path / "right.onnx", GUILTY)
    plain = create_session(wrong, optimize=False).run(None, FEEDS)[0]
    assert np.abs(load(wrong).run(FEEDS)["y"] - plain).max() > 0.1
    np.testing.assert_array_equal(load(right).run(FEEDS)["y"], plain)
    np.testing.assert_array_equal(create_session(right).run(None, FEEDS)[0], plain)
    asked = create_session(wrong, disabled_optimizers=["Pad_Fusion"]).run(None, FEEDS)[0]
    np.testing.assert_array_equal(asked, plain)
    operators = [node.operator for node in profile(right, FEEDS, calls=2)]
    assert "Pad" in operators
    with LocalDevice("local") as device:
        found = device.infer([(right, FEEDS)]).outputs[0]["y"]
    np.testing.assert_array_equal(found, plain)


def test_threads_of_the_contract_hold_unless_the_caller_names_some(tmp_path: Path) -> None:
    path = written(tmp_path / "two.onnx", Session(threads=2))
    assert create_session(path).get_session_options().intra_op_num_threads == 2
    assert create_session(path, threads=1).get_session_options().intra_op_num_threads == 1
