import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training_models import members, read_json, write_digits, write_tiny_model

from toolkit.contract import Affine, ImageSpec
from toolkit.datasets import load_dataset
from toolkit.errors import (
    CheckFailedError,
    DataError,
    MissingPackageError,
    ModelError,
    OutputError,
    RecipeError,
)
from toolkit.keras_files import read_config, read_contract
from toolkit.training import curves, state, train
from toolkit.training.network import build_network
from toolkit.training.options import runs, trainings
from toolkit.training.recipe import ModelRecipe
from toolkit.training.source import load_source

TOOLKIT = [sys.executable, "-m", "toolkit"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return write_digits(tmp_path_factory.mktemp("data") / "digits.npz")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, digits, model):
    """Three uninterrupted epochs."""
    output = tmp_path_factory.mktemp("out") / "digits.keras"
    return train(model, output, data=digits, epochs=3)


def weights(path):
    return members(path)["model.weights.h5"]


@pytest.mark.slow
def test_training_writes_the_model_its_history_and_its_curves(trained):
    assert sorted(entry.name for entry in trained.path.parent.iterdir()) == [
        "digits.keras",
        "digits.keras.curves.png",
        "digits.keras.history.json",
    ]
    history = read_json(trained.history_path)
    assert history["schema"] == "toolkit.history/1"
    assert [len(values) for values in history["history"].values()] == [3] * 6
    assert history["history"]["loss"][2] < history["history"]["loss"][0]
    assert history["best_epoch"] == trained.chosen.best_epoch
    with Image.open(trained.curves_path) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000


@pytest.mark.slow
def test_the_result_is_the_json_of_the_design(trained):
    document = trained.to_dict()
    assert next(iter(document)) == "schema"
    assert document["schema"] == "toolkit.train/1"
    assert document["path"] == str(trained.path)
    assert document["epochs"] == 3
    assert 0.2 < document["test_accuracy"] < 1
    low, high = document["test_accuracy_interval"]
    assert low < document["test_accuracy"] < high
    assert document["seconds"] > 0
    assert set(document["history"]) >= {"loss", "accuracy", "val_loss", "val_accuracy"}


@pytest.mark.slow
def test_the_kept_weights_are_those_of_the_best_epoch(trained):
    chosen, history = trained.chosen, trained.chosen.history
    assert chosen.validation_accuracy == max(history["val_accuracy"])
    assert history["val_accuracy"][chosen.best_epoch - 1] == chosen.validation_accuracy


@pytest.mark.slow
def test_the_model_carries_its_contract_and_no_optimizer(trained, digits):
    contract = read_contract(trained.path)
    (entry,), (result,) = contract.inputs, contract.outputs
    assert (entry.name, entry.dtype, entry.shape) == ("pixels", "float32", ("batch", 28, 28, 1))
    assert entry.image == ImageSpec("NHWC", "grayscale", "resize")
    assert entry.by_caller == Affine((1 / 255,), (0.0,))
    assert (result.name, result.kind, result.shape) == ("digits", "probabilities", ("batch", 10))
    (step,) = contract.provenance
    assert step["options"]["seed"] == 1
    assert step["data"]["name"] == str(digits)
    assert len(step["data"]["sha256"]) == len(step["sha256"]) == 64
    validation, test = contract.evidence
    assert validation["top1"] == trained.chosen.validation_accuracy
    assert (test["top1"], test["samples"]) == (trained.test_accuracy, 200)
    assert not read_config(trained.path).get("compile_config")
    assert b"optimizer" not in weights(trained.path)


@pytest.mark.slow
def test_the_file_gives_the_test_accuracy_that_was_reported(trained, digits):
    import keras

    with np.load(digits) as data:
        pixels, labels = data["x_test"], data["y_test"]
    loaded = keras.saving.load_model(trained.path)
    scores = loaded.predict(pixels[..., None].astype(np.float32) / 255, verbose=0)
    assert float(np.mean(scores.argmax(1) == labels)) == trained.test_accuracy


@pytest.mark.slow
def test_the_same_seed_gives_the_same_file(trained, digits, model, tmp_path):
    again = train(model, tmp_path / "a.keras", data=digits, epochs=3)
    assert again.path.read_bytes() == trained.path.read_bytes()


@pytest.mark.slow
def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(
    trained, digits, model, tmp_path, monkeypatch, capsys
):
    save, saved = state.save, []

    def save_and_stop(path, checkpoint):
        save(path, checkpoint)
        saved.append(path)
        if len(saved) == 2:
            raise KeyboardInterrupt

    output = tmp_path / "digits.keras"
    with monkeypatch.context() as patched:
        patched.setattr(state, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train(model, output, data=digits, epochs=3)
    assert "the same command goes on from there" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["digits.keras.state"]

    with pytest.raises(OutputError, match="differs in 'epochs'"):
        train(model, output, data=digits, epochs=4)

    resumed = train(model, output, data=digits, epochs=3)
    assert "Going on" in capsys.readouterr().err
    assert resumed.path.read_bytes() == trained.path.read_bytes()
    figures = [name for name in resumed.chosen.history if name != "seconds"]
    assert [resumed.chosen.history[name] for name in figures] == [
        trained.chosen.history[name] for name in figures
    ]
    assert not output.with_name("digits.keras.state").exists()


@pytest.mark.slow
def test_a_killed_process_goes_on_where_it_stopped(trained, digits, model, tmp_path):
    output = tmp_path / "digits.keras"
    command = [*TOOLKIT, "train", str(model), "-o", str(output), "--data", str(digits)]
    command += ["--epochs", "3"]
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stderr=stderr, stdout=subprocess.DEVNULL)
    while process.poll() is None and "epoch 1/3" not in log.read_text():
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not output.exists()
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert output.read_bytes() == trained.path.read_bytes()
    assert sorted(entry.suffix for entry in tmp_path.iterdir()) == ["", ".json", ".keras", ".png"]


@pytest.mark.slow
def test_several_values_train_every_combination_and_the_best_by_validation_is_kept(
    digits, model, tmp_path
):
    output = tmp_path / "digits.keras"
    result = train(
        model,
        output,
        data=digits,
        epochs=2,
        optimizer=["adam", "sgd"],
        settings={"units": ["8", "32"]},
    )
    assert [run.name for run in result.runs] == [
        "optimizer=adam units=8",
        "optimizer=adam units=32",
        "optimizer=sgd units=8",
        "optimizer=sgd units=32",
    ]
    assert result.chosen.validation_accuracy == max(run.validation_accuracy for run in result.runs)
    assert result.runs[0].parameters < result.runs[1].parameters
    assert result.chosen.path == output
    others = sorted((tmp_path / "digits.sweep").glob("*.keras"))
    assert len(others) == 3
    for run in result.runs:
        assert run.path.exists()
        expected = 2 if run is result.chosen else 1  # the test samples are for the chosen one only
        assert len(read_contract(run.path).evidence) == expected
        assert run.overfitting_gap == pytest.approx(
            100 * (run.train_accuracy - run.validation_accuracy)
        )
    single = train(
        model, tmp_path / "one.keras", data=digits, epochs=2, optimizer="sgd", settings={"units": 8}
    )
    assert weights(single.path) == weights(result.runs[2].path)
    with pytest.raises(OutputError, match="holds an earlier comparison"):
        output.unlink()
        result.history_path.unlink()
        result.curves_path.unlink()
        train(model, output, data=digits, epochs=[1, 2])


@pytest.mark.slow
def test_an_interrupted_comparison_keeps_the_runs_that_were_finished(
    digits, model, tmp_path, monkeypatch
):
    save, saved = state.save, []

    def save_and_stop(path, checkpoint):
        save(path, checkpoint)
        saved.append(path.name)
        if len(saved) == 3:
            raise KeyboardInterrupt

    output = tmp_path / "digits.keras"
    with monkeypatch.context() as patched:
        patched.setattr(state, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train(model, output, data=digits, epochs=2, seed=[1, 2])
    again = []
    with monkeypatch.context() as patched:
        patched.setattr(
            state, "save", lambda path, point: (save(path, point), again.append(path.name))
        )
        result = train(model, output, data=digits, epochs=2, seed=[1, 2])
    assert saved == ["1_seed=1.npz", "1_seed=1.npz", "2_seed=2.npz"]
    assert again == ["2_seed=2.npz"]
    assert [len(run.history["loss"]) for run in result.runs] == [2, 2]
    first, second = result.runs
    assert first.history["loss"] != second.history["loss"]


@pytest.mark.slow
def test_a_training_that_diverges_writes_nothing_and_loses_to_one_that_does_not(
    digits, model, tmp_path
):
    output = tmp_path / "digits.keras"
    with pytest.raises(CheckFailedError, match="Lower --learning-rate"):
        train(model, output, data=digits, epochs=2, optimizer="sgd", learning_rate=1e30)
    assert list(tmp_path.iterdir()) == []
    result = train(model, output, data=digits, epochs=2, optimizer="sgd", learning_rate=[1e30, 0.1])
    diverged, good = result.runs
    assert diverged.diverged
    assert diverged.path is None
    assert result.chosen is good
    record = tmp_path / "digits.sweep" / "1_learning_rate=1e_30.keras.history.json"
    assert read_json(record)["history"]["loss"] == [None]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_no_model(digits, model, tmp_path, monkeypatch):
    import keras

    def no_space(self, path, *args, **kwargs):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Sequential, "save", no_space)
    with pytest.raises(OutputError, match="No space left on device"):
        train(model, tmp_path / "digits.keras", data=digits, epochs=1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["digits.keras.state"]
    names = {entry.name for entry in (tmp_path / "digits.keras.state").iterdir()}
    assert names == {"1.npz", "training.json"}  # the epoch is not lost


@pytest.mark.slow
def test_the_recipe_beside_the_model_is_used_and_the_options_override_it(digits, tmp_path):
    toml = f"""
        [data]
        name = {str(digits)!r}
        [training]
        epochs = 4
        optimizer = "sgd"
        learning_rate = 0.05
        [input]
        scale = 0.0078125
        offset = -1.0
        preparation = "mnist"
        [output]
        labels = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
        """
    model = write_tiny_model(tmp_path, toml=toml)
    result = train(model, tmp_path / "a.keras", epochs=1, batch_size=64)
    options = result.chosen.options
    assert (options["epochs"], options["batch_size"], options["optimizer"]) == (1, 64, "sgd")
    assert result.chosen.history["learning_rate"] == [0.05]
    contract = read_contract(result.path)
    assert contract.inputs[0].by_caller == Affine((0.0078125,), (-1.0,))
    assert contract.inputs[0].image.preparation == "mnist"
    assert contract.outputs[0].labels == tuple("abcdefghij")


@pytest.mark.slow
def test_fast_ends_with_a_hundredth_of_its_learning_rate(digits, model, tmp_path):
    result = train(model, tmp_path / "a.keras", data=digits, fast=True)
    assert result.epochs == 3
    assert result.chosen.history["learning_rate"][-1] == pytest.approx(0.006 / 100, rel=0.1)


# What build() returns, and the error that this data gives.
WRONG_MODELS = {
    "return 3": (ModelError, "returns int"),
    "raise ValueError('no')": (ModelError, r"build\(\) fails \(line 6\): ValueError: no"),
    "return keras.Model()": (ModelError, "without a fixed input"),
    "return keras.Sequential([keras.Input((32, 32, 3)), flat(), dense(10)])": (
        DataError,
        "takes samples of 32x32x3, .* has 28x28",
    ),
    "return keras.Sequential([keras.Input((28, 28)), flat(), dense(5)])": (
        DataError,
        "gives 5 values for each sample, .* has 10 classes",
    ),
    "a, b = keras.Input((28, 28)), keras.Input((2,)); return keras.Model([a, b], dense(10)(b))": (
        ModelError,
        "has 2 inputs and 1 outputs",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("body", WRONG_MODELS)
def test_a_model_that_cannot_learn_the_data_is_refused_before_training(digits, tmp_path, body):
    error, message = WRONG_MODELS[body]
    path = tmp_path / "cnn.py"
    path.write_text(
        "import keras\n"
        "flat = keras.layers.Flatten\n"
        "dense = keras.layers.Dense\n"
        "\n"
        f"def build():\n    {body}\n"
    )
    with pytest.raises(error, match=message) as caught:
        train(path, tmp_path / "a.keras", data=digits)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir() if entry.suffix == ".keras"] == []


# Bodies of build(), and the preprocessing and output kind that are found without a recipe.
INTERFACES = {
    "[flat(), keras.layers.Dense(10)]": (Affine((1 / 255,), (0.0,)), "logits", "NHW"),
    "[keras.layers.Rescaling(1 / 255), flat(), dense(10)]": (None, "probabilities", "NHW"),
    "[flat(), keras.layers.Dense(10), keras.layers.Softmax()]": (
        Affine((1 / 255,), (0.0,)),
        "probabilities",
        "NHW",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("layers", INTERFACES)
def test_a_model_without_a_recipe_is_read_for_its_interface(digits, tmp_path, layers):
    affine, kind, layout = INTERFACES[layers]
    path = tmp_path / "cnn.py"
    path.write_text(
        "import keras\n"
        "flat = keras.layers.Flatten\n"
        "def dense(units):\n    return keras.layers.Dense(units, activation='softmax')\n"
        f"def build():\n    return keras.Sequential([keras.Input((28, 28))] + {layers})\n"
    )
    (options,) = runs(trainings(ModelRecipe(), fast=False, values={}), {})
    data = load_dataset(digits)
    contract = build_network(load_source(path), options, data, ModelRecipe()).contract
    assert contract.inputs[0].by_caller == affine
    assert contract.inputs[0].image.layout == layout
    assert contract.outputs[0].kind == kind


@pytest.mark.slow
def test_colour_pictures_in_folders_are_learned(tmp_path):
    rng = np.random.default_rng(0)
    for name, color in (("blue", (0, 0, 200)), ("red", (200, 0, 0))):
        folder = tmp_path / "flags" / name
        folder.mkdir(parents=True)
        for index in range(40):
            pixels = np.clip(rng.normal(color, 30, (12, 12, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    model = write_tiny_model(tmp_path)
    result = train(
        model,
        tmp_path / "flags.keras",
        data=tmp_path / "flags",
        epochs=8,
        learning_rate=0.01,
        settings={"rate": 0},
    )
    contract = read_contract(result.path)
    assert contract.inputs[0].shape == ("batch", 12, 12, 3)
    assert contract.inputs[0].image.color == "rgb"
    assert contract.outputs[0].labels == ("blue", "red")
    assert result.test_accuracy > 0.6


def test_output_and_options_are_checked_before_anything_heavy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(OutputError, match=r"must end in .keras"):
        train("mnist_cnn", tmp_path / "a.onnx")
    with pytest.raises(OutputError, match="does not exist"):
        train("mnist_cnn", tmp_path / "nowhere" / "a.keras")
    with pytest.raises(RecipeError, match="Did you mean 'mnist_cnn'"):
        train("mnist_cn", tmp_path / "a.keras")
    with pytest.raises(RecipeError, match="'epochs' is 0"):
        train("mnist_cnn", tmp_path / "a.keras", epochs=0)
    (tmp_path / "a.keras.history.json").write_text("{}")
    with pytest.raises(OutputError, match="--force"):
        train("mnist_cnn", tmp_path / "a.keras")


@pytest.mark.parametrize("package", ["tensorflow", "matplotlib.figure"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path, monkeypatch, package
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=r"pip install 'toolkit\[train\]'"):
        train("mnist_cnn", tmp_path / "a.keras")
    assert list(tmp_path.iterdir()) == []


def test_the_picture_of_many_runs_and_of_diverged_ones_can_be_drawn(tmp_path):
    from toolkit.training import RunResult

    def run(index, length):
        values = [1 / (epoch + index + 1) for epoch in range(length)]
        history = {name: [*values] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        history["val_loss"][-1] = None
        history["seconds"] = [1.0] * length
        return RunResult(f"run={index}", Path("x"), {}, 10, history, 1, 0.5, 0.5, 0.6, index == 0)

    runs = [run(index, 1 + index % 4) for index in range(30)]
    curves.draw(tmp_path / "a.png", runs, runs[3], "cnn", "data $x_{$ %")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 1000


def test_one_epoch_shows_as_a_whole_number_and_every_series_has_marks():
    from toolkit.training import RunResult

    names = ("loss", "accuracy", "val_loss", "val_accuracy", "seconds")
    runs = [
        RunResult(f"run={index}", Path("x"), {}, 10, {name: [0.5] for name in names}, 1, 0.5, 0.5,
                  0.6, False)
        for index in range(2)
    ]  # fmt: skip
    for drawn in (runs, runs[:1]):
        figure = curves._figure(drawn, runs[0], "cnn", "mnist")
        for axis in figure.axes:
            assert axis.get_xlim() == (0.5, 1.5)
            assert [tick for tick in axis.get_xticks() if 0.5 <= tick <= 1.5] == [1]
            assert all(line.get_marker() == "o" for line in axis.lines)


@pytest.mark.slow
def test_the_zoo_model_has_99_percent_on_the_test_set_and_225_034_parameters():
    import keras

    from toolkit.recipes import builtin_dir

    path = builtin_dir("models") / "mnist_cnn.keras"
    loaded = keras.saving.load_model(path)
    assert loaded.count_params() == 225_034
    test = load_dataset("mnist").test
    pixels = np.asarray(test.images)[..., None].astype(np.float32) / 255
    accuracy = float(np.mean(loaded.predict(pixels, verbose=0).argmax(1) == test.labels))
    assert accuracy >= 0.99
    evidence = read_contract(path).evidence
    assert [entry["top1"] for entry in evidence if "test" in entry["data"]] == [accuracy]
    assert path.stat().st_size < 950_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("samples", "scaled"),
    [
        (np.arange(60 * 5, dtype=np.uint8).reshape(60, 5), False),
        (np.linspace(0, 1, 60 * 5, dtype=np.float32).reshape(60, 5), False),
        (np.zeros((60, 5, 1, 1), np.uint8), True),
    ],
)
def test_only_pixels_are_divided_by_255(tmp_path, samples, scaled):
    np.savez(tmp_path / "table.npz", x=samples, y=np.arange(60) % 3)
    path = tmp_path / "mlp.py"
    path.write_text(
        "import keras\n"
        "def build(classes):\n"
        f"    return keras.Sequential([keras.Input({samples.shape[1:]}), keras.layers.Flatten(),"
        " keras.layers.Dense(classes)])\n"
    )
    (options,) = runs(trainings(ModelRecipe(), fast=False, values={}), {})
    data = load_dataset(tmp_path / "table.npz")
    contract = build_network(load_source(path), options, data, ModelRecipe()).contract
    assert (contract.inputs[0].by_caller is not None) is scaled
