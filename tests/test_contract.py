"""The contract survives the way through JSON, and a damaged one is refused in one line."""

import json
import subprocess
import sys

import pytest

from toolkit.contract import (
    KEY,
    Affine,
    Contract,
    ImageSpec,
    InputSpec,
    OutputSpec,
    from_json,
    from_metadata,
    infer,
    new_step,
)
from toolkit.errors import ModelError

FULL = Contract(
    name="mnist_cnn",
    inputs=(
        InputSpec(
            "image",
            "uint8",
            ("batch", 28, 28, 1),
            ImageSpec("NHWC", "grayscale", "mnist"),
            in_graph=Affine((1 / 255,), (0.0,)),
        ),
        InputSpec("extra", "float32", ("batch", 3), by_caller=Affine((1.0, 2.0, 3.0), (0.0,) * 3)),
    ),
    outputs=(OutputSpec("output", "float32", ("batch", 2), "probabilities", ("cat", "dög")),),
    provenance=({"step": "train", "epochs": 5},),
    evidence=({"check": "parity", "max_rel_diff": 1e-7},),
)


def changed(**fields: object) -> str:
    return json.dumps({**FULL.to_dict(), **fields})


def test_a_contract_is_the_same_after_json():
    assert from_json(FULL.to_json()) == FULL
    assert from_metadata({KEY: FULL.to_json()}) == FULL
    assert from_metadata({"other": "x"}) is None


def test_a_step_is_added_at_the_end_and_the_original_is_unchanged():
    longer = FULL.with_step({"step": "export"}, {"check": "a"}, {"check": "b"})
    assert [entry["step"] for entry in longer.provenance] == ["train", "export"]
    assert len(longer.evidence) == 3
    assert len(FULL.provenance) == 1


def test_fields_of_a_later_version_of_the_same_schema_are_ignored():
    assert from_json(changed(something_new=1)) == FULL


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "is damaged"),
        ("[]", "is damaged"),
        ("[" * 100_000, "is damaged"),
        ("{}", "is damaged"),
        (changed(version=2), "has version 2, this toolkit reads 1"),
        (changed(inputs=[{"name": "x"}]), "is damaged"),
        (changed(inputs=3), "is damaged"),
        (changed(outputs=[{"name": "x", "dtype": "f", "shape": [1], "kind": "odd"}]), "'odd'"),
    ],
)
def test_a_damaged_contract_is_one_line(text, message):
    with pytest.raises(ModelError, match=message) as raised:
        from_json(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        (("N", 28, 28, 1), ImageSpec("NHWC", "grayscale")),
        (("N", 32, 32, 3), ImageSpec("NHWC", "rgb")),
        ((1, 3, 224, 224), ImageSpec("NCHW", "rgb")),
        (("N", 10), None),
        (("N", 8, 8, 16), None),
    ],
)
def test_an_inferred_contract_guesses_pictures_from_the_shape(shape, image):
    contract = infer("m", [("x", "float32", shape)], [("y", "float32", ("N", 10))])
    assert contract.assumed
    assert contract.inputs[0].image == image
    assert contract.outputs[0].labels is None


def test_contract_and_errors_import_the_standard_library_alone():
    code = (
        "import sys\nbefore = set(sys.modules)\nimport toolkit.contract, toolkit.errors\n"
        "roots = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(roots - set(sys.stdlib_module_names) - {'toolkit'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


STEP = ["step", "source", "sha256", "data", "options", "results", "versions"]


def test_every_step_of_provenance_has_the_same_fields():
    step = new_step(
        "export",
        source="m.keras",
        sha256="0" * 64,
        options={"opset": 17},
        versions={"toolkit": "1"},
    )

    assert list(step) == STEP
    assert (step["data"], step["results"]) == (None, {})
    again = from_json(FULL.with_step(step).to_json())
    assert again.provenance[-1] == step


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            {"step": "train", "toolkit": "0.1", "keras": "3", "tensorflow": "2", "source": "m.py",
             "source_sha256": "a", "data": {"name": "mnist"}, "options": {"seed": 1},
             "best_epoch": 5},
            {"step": "train", "source": "m.py", "sha256": "a", "data": {"name": "mnist"},
             "options": {"seed": 1}, "results": {"best_epoch": 5},
             "versions": {"toolkit": "0.1", "keras": "3", "tensorflow": "2"}},
        ),
        (
            {"step": "export", "source": "m.keras", "sha256": "b", "opset": 17, "batch": "dynamic",
             "input": "uint8", "versions": {"toolkit": "0.1"}},
            {"step": "export", "source": "m.keras", "sha256": "b",
             "options": {"opset": 17, "batch": "dynamic", "input": "uint8"},
             "versions": {"toolkit": "0.1"}},
        ),
        (
            {"step": "quantize", "source": "m.onnx", "sha256": "c", "recipe": "int8", "seed": 0,
             "options": {"method": "static"}, "samples": 50, "float_layers": {},
             "versions": {"toolkit": "0.1"}},
            {"step": "quantize", "source": "m.onnx", "sha256": "c",
             "options": {"method": "static", "recipe": "int8", "seed": 0},
             "results": {"samples": 50, "float_layers": {}}, "versions": {"toolkit": "0.1"}},
        ),
    ],
)  # fmt: skip
def test_steps_of_earlier_versions_are_read_into_the_same_fields(old, new):
    contract = FULL.with_step(old)

    assert from_json(contract.to_json()).provenance[-1] == new


def test_two_preprocessings_in_a_row_are_one():
    both = Affine((2.0,), (1.0,)).then(Affine((3.0, 5.0), (0.0, 7.0)))

    assert both == Affine((6.0, 10.0), (3.0, 12.0))
