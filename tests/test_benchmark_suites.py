"""Suites: found, read, and their models made."""

import json
import shutil

import numpy as np
import pytest
from bench_models import classifier, samples
from click.testing import CliRunner

from toolkit.benchmark import bench
from toolkit.benchmark.suites import find_models, find_suite, read_suite
from toolkit.commands.bench import bench as command
from toolkit.errors import ModelError, OutputError, RecipeError
from toolkit.recipes import builtin_dir, builtin_names


@pytest.fixture(autouse=True)
def one_process_per_variant(monkeypatch):
    monkeypatch.setattr("toolkit.benchmark.measurement._STARTS", 1)


@pytest.fixture
def folder(tmp_path):
    """A folder with a model, its data and a suite that names them."""
    classifier(tmp_path / "plain.onnx")
    samples(tmp_path / "data.npz")
    suite(tmp_path)
    return tmp_path


def suite(folder, text=""):
    path = folder / "own.toml"
    path.write_text(
        'description = "Dynamic int8."\nmodels = ["./plain.onnx"]\ndata = "data.npz"\nrounds = 6\n'
        '[[variants]]\nname = "dynamic"\nquantize = "int8-dynamic"\n' + text,
        encoding="utf-8",
    )
    return path


def test_a_toml_file_and_a_builtin_name_are_suites_and_all_else_is_a_model(folder):
    assert find_suite([folder / "own.toml"]) == folder / "own.toml"
    assert find_suite(["mnist"]).name == "mnist.toml"
    assert find_suite(["mnist_cnn"]) is None
    assert find_suite(["mnist.onnx"]) is None
    assert find_suite(["a.onnx", "b.onnx"]) is None
    assert find_models(["mnist_cnn"])["mnist_cnn"].name == "mnist_cnn.onnx"


def test_no_builtin_suite_is_called_as_a_model_and_every_one_can_be_read():
    assert not set(builtin_names("bench")) & set(builtin_names("models", ".onnx"))
    for name in builtin_names("bench"):
        found = read_suite(builtin_dir("bench") / f"{name}.toml")
        assert found.description


def test_a_name_that_is_both_is_refused_with_both_paths(tmp_path, monkeypatch):
    for kind, name in (("bench", "twin.toml"), ("models", "twin.onnx")):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / name).touch()
    for module in ("recipes", "benchmark.suites"):
        monkeypatch.setattr(f"toolkit.{module}.builtin_dir", lambda kind: tmp_path / kind)
    with pytest.raises(RecipeError, match=r"a suite and a model.*twin\.toml' or .*twin\.onnx'"):
        find_suite(["twin"])


def test_a_suite_stands_alone_and_an_unknown_name_lists_both_kinds():
    with pytest.raises(RecipeError, match=r"'mnist' is a suite and stands alone; add 'a\.onnx'"):
        find_suite(["mnist", "a.onnx"])
    with pytest.raises(ModelError, match=r"no suite\. Did you mean 'mnist_cnn'\?.*suites: mnist"):
        find_models(["mnist_cn"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[variants]]\nname = 'x'\nquantise = 'int8'\n", r"'variants\.1\.quantise'.*'quantize'"),
        ("[threshold]\nfail_if_drop = 1\n", r"unknown key 'threshold'\. Did you mean 'thresholds'"),
        ("[thresholds]\nfail_if_drops = 1\n", r"Did you mean 'fail_if_drop'"),
        ("[thresholds]\nfail_if_slower = 0\n", r"'thresholds\.fail_if_slower' is 0; .*greater"),
        ("[[variants]]\nname = 'dynamic'\n", r"two variants are called 'dynamic'"),
        ("[[variants]]\nname = 'plain'\n", r"two models are called 'plain'"),
        (
            "[[variants]]\nname = 'x'\nquantize = {recipes = 'int8'}\n",
            r"'quantize\.recipes' in 'x'",
        ),
        ("[[variants]]\nname = 'x'\nexport = {opsets = 13}\n", r"Did you mean 'opset'|does not"),
        ("[[variants]]\nname = 'x'\nquantize = 'int9'\n", r"Did you mean 'int8'"),
        ("[[variants]]\nname = 'x'\nmodel = './no.onnx'\n", r"no\.onnx' does not exist"),
    ],
)
def test_a_mistake_in_a_suite_is_one_line(text, message, folder):
    with pytest.raises((RecipeError, ModelError), match=message) as raised:
        bench(suite(folder, text))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ('devices = ["ssh://board"]', r"'devices' is \['ssh://board'\]; bench measures on this"),
        ("rounds = 5", r"own\.toml': rounds is 5"),
        ("batch = [1, 0]", r"own\.toml': batch is 0"),
        ('provider = "gpu"', r"own\.toml': 'provider"),
    ],
)
def test_a_value_out_of_range_is_one_line(key, message, folder):
    path = folder / "own.toml"
    path.write_text(f'description = "x"\nmodels = ["./plain.onnx"]\n{key}\n', encoding="utf-8")
    with pytest.raises(RecipeError, match=message):
        bench(path)


def test_a_suite_makes_its_variants_and_leaves_nothing_behind(folder):
    before = sorted(folder.iterdir())
    result = bench(folder / "own.toml")
    assert result.suite == "own"
    assert [variant.name for variant in result.variants] == ["plain", "dynamic"]
    assert result.variants[0].made_by is None
    assert "toolkit quantize" in result.variants[1].made_by
    assert "--recipe int8-dynamic" in result.variants[1].made_by
    assert (result.samples, result.part) == (12, "held out"), "not on what calibrated"
    assert result.rounds == 6
    assert sorted(folder.iterdir()) == before


def test_options_go_before_what_the_suite_says(folder):
    result = bench(folder / "own.toml", rounds=7, batch=[1, 2], data="random")
    assert result.rounds == 7
    assert result.data is None
    assert {variant.batch for variant in result.variants} == {1, 2}


def test_kept_models_can_be_used_and_are_not_replaced_unasked(folder):
    from toolkit.runtime import load

    kept = folder / "kept"
    with pytest.raises(OutputError, match="is no folder"):
        bench(folder / "own.toml", keep=kept)
    kept.mkdir()
    bench(folder / "own.toml", keep=kept, attach=True)
    (evidence,) = (
        entry
        for entry in load(kept / "dynamic.onnx").contract.evidence
        if entry["check"] == "bench"
    )
    assert evidence["compared"][0]["baseline"] == "plain"
    with pytest.raises(OutputError, match="--force"):
        bench(folder / "own.toml", keep=kept)
    with pytest.raises(RecipeError, match="--keep"):
        bench(folder / "own.toml", attach=True)
    with pytest.raises(RecipeError, match="there is no suite"):
        bench(folder / "plain.onnx", keep=kept)


def test_a_variant_can_be_made_of_an_earlier_one_or_be_a_file(folder):
    shutil.copy(folder / "plain.onnx", folder / "other.onnx")
    text = (
        '[[variants]]\nname = "file"\nmodel = "./other.onnx"\n'
        '[[variants]]\nname = "again"\nmodel = "file"\n'
        'quantize = {recipe = "int8-dynamic", seed = 3}\n'
    )
    result = bench(suite(folder, text), data="random")
    step = f"toolkit quantize --data {folder / 'data.npz'} --recipe int8-dynamic --seed 3"
    assert [variant.made_by for variant in result.variants[2:]] == [None, step]


def test_a_suite_whose_limit_is_exceeded_exits_with_3_and_still_writes(folder):
    data = np.load(folder / "data.npz")
    np.savez(folder / "data.npz", x=np.repeat(data["x"], 5, axis=0), y=np.repeat(data["y"], 5))
    classifier(folder / "noisy.onnx", noise=3.0)
    path = folder / "strict.toml"
    path.write_text(
        'description = "x"\nmodels = ["./plain.onnx", "./noisy.onnx"]\ndata = "data.npz"\n'
        "rounds = 6\n[thresholds]\nfail_if_drop = 1.0\n",
        encoding="utf-8",
    )
    outcome = CliRunner().invoke(
        command, [str(path), "--json", str(folder / "r.json"), "--markdown", str(folder / "r.md")]
    )
    assert outcome.exit_code == 3, outcome.output
    assert "1 of 1 checks failed" in outcome.stdout
    (check,) = json.loads((folder / "r.json").read_text())["checks"]
    assert (check["variant"], check["against"], check["passed"]) == ("noisy", "plain", False)
    assert "**1 of 1 checks failed.**" in (folder / "r.md").read_text()
