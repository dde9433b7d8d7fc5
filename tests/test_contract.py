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
