import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import toolkit.training
from toolkit.commands.train import train
from toolkit.training import RunResult, TrainResult
from toolkit.training.loop import FIGURES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "x"], "'x' is not of the form N[,N...]"),
        (["--epochs", "1,,2"], "is not of the form"),
        (["--learning-rate", "fast"], "'fast' is not of the form X[,X...]"),
        (["--epochs", "0"], "0 is not in the range x>=1"),
        (["--epochs", "3,-1"], "-1 is not in the range x>=1"),
        (["--batch-size", "0"], "0 is not in the range x>=1"),
        (["--learning-rate", "-1"], "-1.0 is not in the range x>0"),
        (["--learning-rate", "0"], "0.0 is not in the range x>0"),
        (["--seed", "-1"], "-1 is not in the range x>=0"),
        (["--set", "pooling"], "is not of the form KEY=VALUE[,VALUE...]"),
        (["--set", "=max"], "is not of the form KEY=VALUE[,VALUE...]"),
        (["--set", "pooling=max,"], "is not of the form KEY=VALUE[,VALUE...]"),
    ],
)
def test_values_that_cannot_be_read_are_wrong_usage(arguments, message):
    result = CliRunner().invoke(train, ["mnist_cnn", "-o", "a.keras", *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_every_option_reaches_the_library_under_its_own_name(monkeypatch):
    seen = {}

    def record(model, output, **options):
        seen.update(model=model, output=str(output), **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(toolkit.training, "train", record)
    line = (
        "mnist_cnn -o a.keras --data d.npz --epochs 3,5 --batch-size 64 --optimizer adam,sgd "
        "--learning-rate 0.1,1e-3 --set pooling=max,avg --set filters=16-32 --set pooling=min "
        "--seed 7 --fast --force"
    )
    CliRunner().invoke(train, line.split())
    assert seen == {
        "model": "mnist_cnn",
        "output": "a.keras",
        "data": "d.npz",
        "epochs": [3, 5],
        "batch_size": [64],
        "optimizer": ["adam", "sgd"],
        "learning_rate": [0.1, 0.001],
        "settings": {"pooling": ["max", "avg", "min"], "filters": ["16-32"]},
        "seed": [7],
        "fast": True,
        "force": True,
    }


def make_run(name, accuracy, *, diverged=False):
    history = {figure: [0.5, 0.25] for figure in FIGURES}
    if diverged:
        history["loss"] = history["val_loss"] = [None]
    return RunResult(
        name=name,
        path=None if diverged else Path(f"digits.sweep/{name}.keras"),
        options={"optimizer": "adam"},
        parameters=225_034,
        history=history,
        best_epoch=0 if diverged else 2,
        validation_accuracy=None if diverged else accuracy,
        validation_loss=None if diverged else 0.25,
        train_accuracy=None if diverged else accuracy + 0.01,
        diverged=diverged,
    )


def make_result(*runs):
    return TrainResult(
        path=Path("digits.keras"),
        model="mnist_cnn",
        data="mnist",
        chosen=runs[0],
        runs=runs,
        test_accuracy=0.9902,
        test_accuracy_interval=(0.9881, 0.992),
        test_samples=10_000,
        history_path=Path("digits.keras.history.json"),
        curves_path=Path("digits.keras.curves.png"),
    )


def invoke(monkeypatch, result, *options):
    monkeypatch.setattr(toolkit.training, "train", lambda *_, **__: result)
    shown = CliRunner().invoke(train, ["mnist_cnn", "-o", "digits.keras", *options])
    assert shown.exit_code == 0, shown.output
    return shown.stdout


def test_a_single_training_ends_in_its_figures(monkeypatch):
    text = invoke(monkeypatch, make_result(make_run("", 0.98)))
    for shown in ("225,034", "98.00 %", "+1.00 points", "99.02 %", "98.81 to 99.20", "curves.png"):
        assert shown in text
    assert "chosen" not in text


def test_a_comparison_ends_in_a_table_with_the_best_first(monkeypatch):
    runs = (
        make_run("pooling=max", 0.98),
        make_run("pooling=avg", 0.9),
        make_run("x", 0, diverged=True),
    )
    text = invoke(monkeypatch, make_result(*runs))
    lines = text.splitlines()
    assert lines[0].startswith("3 trainings of mnist_cnn on mnist, best first")
    assert lines[2].split()[:2] == ["*", "pooling=max"]
    assert lines[3].split() == ["pooling=avg", "225,034", "90.00", "%", "91.00", "%", "+1.00",
                                "2", "of", "2", "0.8"]  # fmt: skip
    assert lines[4].split() == ["x", "225,034", "-", "-", "-", "diverged", "0.8"]
    assert "digits.sweep" in text


def test_json_is_one_document_without_nan(monkeypatch):
    runs = make_run("a", 0.98), make_run("b", 0, diverged=True)
    text = invoke(monkeypatch, make_result(*runs), "--json")
    document = json.loads(text, parse_constant=pytest.fail)
    assert document["schema"] == "toolkit.train/1"
    assert [run["validation_accuracy"] for run in document["runs"]] == [0.98, None]
    assert document["test_accuracy"] == 0.9902
