"""What `toolkit package` writes, and what it refuses."""

import hashlib
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import onnx
import package_models as models
import pytest
from click.testing import CliRunner

import toolkit
from toolkit.commands.package import package as command
from toolkit.contract import from_json
from toolkit.errors import CheckFailedError, DataError, ModelError, OutputError, ToolkitError
from toolkit.packaging import literals, verify_package
from toolkit.packaging.application import TARGETS
from toolkit.packaging.manifest import check_manifest, write_manifest


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    models.digits_model(folder / "digits.onnx")
    models.quantized(folder / "digits.onnx", folder / "digits.int8.onnx")
    models.colour_model(folder / "colours.onnx")
    models.binary_model(folder / "sensor.onnx")
    models.two_input_model(folder / "pair.onnx")
    models.nasty_model(folder / "nasty.onnx")
    models.open_size_model(folder / "open.onnx")
    return folder


@pytest.mark.parametrize("target", TARGETS)
def test_a_package_holds_model_contract_golden_samples_readme_and_sums(files, tmp_path, target):
    result = toolkit.package(files / "digits.int8.onnx", target, tmp_path / "app")
    place = tmp_path / "app" / ("public" if target == "web" else "")
    assert (place / "model.onnx").read_bytes() == (files / "digits.int8.onnx").read_bytes()
    assert from_json((place / "contract.json").read_text(encoding="utf-8")).name == "digits"
    assert (tmp_path / "app" / "README.md").read_text(encoding="utf-8").startswith("# digits ")
    assert check_manifest(tmp_path / "app") == result.files
    written = {
        path.relative_to(tmp_path / "app").as_posix()
        for path in (tmp_path / "app").rglob("*")
        if path.is_file()
    }
    assert written == {*result.files, "SHA256SUMS"}
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


def test_sha256sum_agrees_with_the_manifest(files, tmp_path):
    toolkit.package(files / "sensor.onnx", "c", tmp_path / "app")
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=tmp_path / "app", check=True)


@pytest.mark.parametrize("target", TARGETS)
def test_two_runs_write_the_same_bytes(files, tmp_path, target):
    one = toolkit.package(files / "colours.onnx", target, tmp_path / "one")
    other = toolkit.package(files / "colours.onnx", target, tmp_path / "other")
    assert one.files == other.files


def test_golden_samples_are_the_inputs_and_answers_of_the_model(files, tmp_path):
    toolkit.package(files / "pair.onnx", "python", tmp_path / "app")
    golden = tmp_path / "app" / "golden"
    ids = np.fromfile(golden / "input-0.bin", "<i8").reshape(-1, 4)
    x = np.fromfile(golden / "input-1.bin", "<f4").reshape(-1, 4)
    np.testing.assert_allclose(np.fromfile(golden / "output-0.bin", "<f4"), (ids + x).ravel(), 1e-6)
    places = np.fromfile(golden / "output-1.bin", "<i8")
    np.testing.assert_array_equal(places, (ids + x).argmax(axis=1))
    document = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    assert document["runs"] == len(places) == 8
    assert document["models"][0]["outputs"][1]["dtype"] == "int64"


def test_golden_samples_of_data_hold_one_of_each_class(files, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x=pixels, y=np.arange(30) % 3)
    result = toolkit.package(
        files / "digits.onnx", "node", tmp_path / "app", data=str(tmp_path / "d.npz")
    )
    stored = np.fromfile(tmp_path / "app" / "golden" / "input-0.bin", np.uint8)
    np.testing.assert_array_equal(stored.reshape(3, 28, 28), pixels[:3])
    assert result.golden == 3


def test_an_int8_model_with_a_float_operator_may_be_off_by_one_output_step(files, tmp_path):
    whole = toolkit.package(files / "digits.onnx", "c", tmp_path / "float")
    int8 = toolkit.package(files / "digits.int8.onnx", "c", tmp_path / "int8")
    assert whole.tolerance == pytest.approx(1e-4)
    assert 1 / 512 < int8.tolerance <= 1 / 255


def test_an_all_int8_model_must_be_met_bit_for_bit(files, tmp_path):
    model = onnx.load(files / "digits.int8.onnx")
    nodes = list(model.graph.node)
    softmax = next(node for node in nodes if node.op_type == "Softmax")
    model.graph.output[0].name = softmax.input[0]
    keep = nodes[: nodes.index(softmax)]
    del model.graph.node[:]
    model.graph.node.extend(keep)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "logits.onnx")
    result = toolkit.package(tmp_path / "logits.onnx", "c", tmp_path / "app")
    assert result.tolerance == 0


def test_a_page_shows_the_model_beside_it(files, tmp_path):
    result = toolkit.package(
        files / "digits.int8.onnx", "web", tmp_path / "app", beside=files / "digits.onnx"
    )
    app = json.loads((tmp_path / "app" / "public" / "app.json").read_text(encoding="utf-8"))
    assert [(entry["file"], entry["name"]) for entry in app["variants"]] == [
        ("model.onnx", "int8"),
        ("beside.onnx", "float32"),
    ]
    assert "public/beside.onnx" in result.files


def test_session_options_of_the_contract_reach_every_language(tmp_path):
    model = tmp_path / "guarded.onnx"
    models.guarded_model(model)
    found = {}
    for target in ("c", "cpp", "node", "web"):
        toolkit.package(model, target, tmp_path / target)
        found[target] = {
            path.name: path.read_text(encoding="utf-8")
            for path in (tmp_path / target).rglob("*")
            if path.suffix in (".h", ".hpp", ".json")
        }
    assert '#define MODEL_DISABLED_OPTIMIZERS "Pad_Fusion"' in found["c"]["contract.h"]
    assert "#define MODEL_THREADS 2" in found["c"]["contract.h"]
    # The version before does not know the option, and would ignore it.
    assert "#define RUNTIME_INTERFACE 18" in found["c"]["contract.h"]
    assert 'disabled_optimizers = "Pad_Fusion"' in found["cpp"]["contract.hpp"]
    contract = json.loads(found["node"]["contract.json"])
    assert contract["session"] == {"disabled_optimizers": ["Pad_Fusion"], "threads": 2}
    app = json.loads(found["web"]["app.json"])
    assert app["variants"][0]["disabled_optimizers"] == "Pad_Fusion"


def test_the_float_original_is_found_by_its_sha256(files, tmp_path):
    for name in ("digits.onnx", "digits.int8.onnx"):
        (tmp_path / name).write_bytes((files / name).read_bytes())
    model = onnx.load(tmp_path / "digits.int8.onnx")
    contract = from_json(model.metadata_props[0].value)
    digest = hashlib.sha256((tmp_path / "digits.onnx").read_bytes()).hexdigest()
    step = {"step": "quantize", "source": "digits.onnx", "sha256": digest}
    model.metadata_props[0].value = contract.with_step(step).to_json()
    onnx.save(model, tmp_path / "digits.int8.onnx")
    result = toolkit.package(tmp_path / "digits.int8.onnx", "web", tmp_path / "found")
    assert result.beside == tmp_path / "digits.onnx"
    (tmp_path / "digits.onnx").write_bytes(b"another file")
    result = toolkit.package(tmp_path / "digits.int8.onnx", "web", tmp_path / "changed")
    assert result.beside is None


@pytest.mark.parametrize(
    ("model", "target", "more", "error", "words"),
    [
        ("missing.onnx", "c", {}, ModelError, "'.*missing.onnx' does not exist"),
        ("open.onnx", "c", {}, ModelError, "'x' has the open size 'steps'"),
        ("pair.onnx", "web", {}, ModelError, "'ids', 'x'; the web page feeds one"),
        ("digits.onnx", "web", {"beside": "colours.onnx"}, ModelError, "other inputs or outputs"),
        ("colours.onnx", "python", {"data": "digits.npz"}, DataError, "takes"),
        ("pair.onnx", "python", {"data": "digits.npz"}, DataError, "has 2 inputs"),
        ("digits.onnx", "rust", {}, ValueError, "target is 'rust'"),
        ("digits.onnx", "c", {"beside": "digits.onnx"}, ValueError, "for the target 'web'"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    files, tmp_path, model, target, more, error, words
):
    np.savez(tmp_path / "digits.npz", x=np.zeros((4, 28, 28), np.uint8), y=np.arange(4))
    if "data" in more:
        more = {"data": str(tmp_path / more["data"])}
    if "beside" in more:
        more = {"beside": files / more["beside"]}
    with pytest.raises(error, match=words):
        toolkit.package(files / model, target, tmp_path / "app", **more)
    assert [path.name for path in tmp_path.iterdir()] == ["digits.npz"]


def test_an_existing_folder_is_left_alone(files, tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match=r"'.*app' exists already"):
        toolkit.package(files / "digits.onnx", "c", tmp_path / "app")
    assert [path.name for path in (tmp_path / "app").iterdir()] == ["mine.txt"]
    with pytest.raises(OutputError, match="does not exist; create it first"):
        toolkit.package(files / "digits.onnx", "c", tmp_path / "no" / "app")


def test_weights_in_another_file_are_refused(files, tmp_path):
    model = onnx.load(files / "digits.onnx")
    onnx.save(
        model,
        tmp_path / "split.onnx",
        save_as_external_data=True,
        location="split.data",
        size_threshold=100,
    )
    with pytest.raises(ModelError, match="keeps its weights in another file"):
        toolkit.package(tmp_path / "split.onnx", "c", tmp_path / "app")


def test_a_tampered_package_is_found_out(files, tmp_path):
    toolkit.package(files / "sensor.onnx", "c", tmp_path / "app")
    model = tmp_path / "app" / "model.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(bytes(data))
    with pytest.raises(CheckFailedError, match=r"model\.onnx' was changed"):
        check_manifest(tmp_path / "app")
    model.unlink()
    with pytest.raises(CheckFailedError, match=r"model\.onnx' is missing"):
        check_manifest(tmp_path / "app")


@pytest.mark.parametrize("target", TARGETS)
def test_a_package_is_verified_in_python_whatever_its_target(files, tmp_path, target):
    toolkit.package(files / "digits.int8.onnx", target, tmp_path / "app")
    check = verify_package(tmp_path / "app")
    assert [(row.way, row.met, row.samples) for row in check.checks] == [("python", 8, 8)]
    assert check.to_dict()["checks"][0]["passed"] is True


def test_other_answers_fail_the_verification(files, tmp_path):
    toolkit.package(files / "sensor.onnx", "python", tmp_path / "app")
    golden = tmp_path / "app" / "golden" / "output-0.bin"
    golden.write_bytes(np.full(8, np.nan, "<f4").tobytes())
    write_manifest(tmp_path / "app")
    with pytest.raises(CheckFailedError, match="8 of 8 golden samples give other answers"):
        verify_package(tmp_path / "app")


def test_a_check_program_takes_part_in_the_verification(files, tmp_path):
    toolkit.package(files / "sensor.onnx", "c", tmp_path / "app")
    program = tmp_path / "app" / "build" / "check"
    program.parent.mkdir()
    line = "8 of 8 golden samples agree; largest difference 0, allowed 0.0001"
    program.write_text(f"#!/bin/sh\necho '{line}'\n", encoding="utf-8")
    program.chmod(0o755)
    check = verify_package(tmp_path / "app")
    assert [row.way for row in check.checks] == ["python", "build/check"]
    program.write_text("#!/bin/sh\necho broken >&2; exit 1\n", encoding="utf-8")
    with pytest.raises(ToolkitError, match=r"'build/check' in .* failed: broken"):
        verify_package(tmp_path / "app")


@pytest.mark.parametrize("line", ["nonsense", f"{'0' * 64}  ../outside", f"{'0' * 64}  /etc/hosts"])
def test_a_manifest_speaks_of_its_own_folder_only(tmp_path, line):
    (tmp_path / "SHA256SUMS").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ModelError, match="is damaged"):
        check_manifest(tmp_path)


def test_a_folder_without_manifest_is_no_package(tmp_path):
    with pytest.raises(ModelError, match="name a folder that `toolkit package` wrote"):
        check_manifest(tmp_path)


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ('a"b\\c', r'"a\"b\\c"'),
        ("??/", r'"\?\?/"'),
        ("é1", r'"\303\2511"'),
        ("\n\x00", r'"\012\000"'),
    ],
)
def test_c_strings_escape_whatever_could_end_them(text, literal):
    assert literals.c_string(text) == literal


def test_javascript_strings_are_json_without_characters_of_html():
    literal = literals.js_string(models.NASTY)
    assert json.loads(literal) == models.NASTY
    assert literal.isascii()
    assert not set("<>&") & set(literal)


@pytest.mark.parametrize(
    ("value", "literal"),
    [(1.0, "1.0f"), (-3.0, "-3.0f"), (1e-7, "1.00000001e-07f"), (0.1, "0.100000001f")],
)
def test_c_floats_read_back_as_the_same_float32(value, literal):
    assert literals.c_float(np.float32(value).item()) == literal
    assert np.float32(float(literal[:-1])) == np.float32(value)


def test_hostile_names_stay_text_in_every_file(files, tmp_path):
    toolkit.package(files / "nasty.onnx", "web", tmp_path / "web")
    page = (tmp_path / "web" / "public" / "index.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert "{{" in page  # the name's own braces, not rendered
    assert page.count("<script") == 1
    readme = (tmp_path / "web" / "README.md").read_text(encoding="utf-8")
    assert not re.search(r"(?<!\\)<img", readme)
    assert len(readme.splitlines()[0]) > 50  # the name has no line break any more
    json.loads((tmp_path / "web" / "public" / "app.webmanifest").read_text(encoding="utf-8"))


def test_the_command_says_what_it_wrote(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [str(files / "sensor.onnx"), "--for", "python"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "sensor-python" in done.output
    assert Path("sensor-python/classify.py").is_file()
    done = CliRunner().invoke(command, [*arguments, "-o", "app", "--json"], catch_exceptions=False)
    document = json.loads(done.output)
    assert document["schema"] == "toolkit.package/1"
    assert document["golden"]["samples"] == 8
    assert set(document["files"]) >= {"model.onnx", "contract.json", "golden/golden.json"}


def test_beside_is_for_pages_only(files):
    done = CliRunner().invoke(command, [str(files / "x.onnx"), "--for", "c", "--beside", "y.onnx"])
    assert done.exit_code == 2
