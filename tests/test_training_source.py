from typing import Literal

import pytest

from toolkit.errors import ModelError, RecipeError
from toolkit.training.source import ModelSource, find_source, load_source


def build(
    filters: tuple[int, ...] = (32, 64),
    pooling: Literal["max", "avg"] = "max",
    rate: float | None = None,
    deep: bool = False,
    units=128,
    widths=(8, 8),
    act: str = "relu",
    free=None,
    layer: object = print,
):
    return None


SOURCE = ModelSource("cnn", "cnn.py", build)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("filters", "16-32", (16, 32)),
        ("filters", "16", (16,)),
        ("filters", (16, 32), (16, 32)),
        ("pooling", "avg", "avg"),
        ("rate", "0.5", 0.5),
        ("rate", "none", None),
        ("rate", "1e-3", 0.001),
        ("deep", "true", True),
        ("units", "64", 64),
        ("widths", "4-4-4", (4, 4, 4)),
        ("act", "3", "3"),
        ("free", "3", 3),
        ("free", "gelu", "gelu"),
    ],
)
def test_a_setting_is_converted_to_the_type_of_its_parameter(name, text, value):
    converted = SOURCE.settings({name: text})[name]
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("poling", "max", "no setting 'poling'. Did you mean 'pooling'"),
        ("zzz", "1", "Known: filters, pooling"),
        ("pooling", "min", "takes 'max' or 'avg', not 'min'"),
        ("filters", "16-x", "takes int values joined by '-', not '16-x'"),
        ("filters", "", "not ''"),
        ("units", "12.5", "takes int, not '12.5'"),
        ("rate", "nan", "takes float or none, not 'nan'"),
        ("deep", "maybe", "takes bool, not 'maybe'"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_taken(name, value, message):
    with pytest.raises(RecipeError, match=message):
        SOURCE.settings({name: value})


def test_loading_a_file_finds_its_build_function(tmp_path):
    path = tmp_path / "json.py"  # named as a module of the standard library, which must survive
    path.write_text("def build():\n    return 1\n")
    source = load_source(path)
    assert source.name == "json"
    assert source.build() == 1
    import json

    assert json.loads("1") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", r"has no function build\(\)"),
        ("build = 3", r"has no function build\(\)"),
        ("def build(:", r"cannot be loaded \(line 1\)"),
        ("x = 1\ny = undefined", r"cannot be loaded \(line 2\): NameError"),
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_named_with_its_line(tmp_path, text, message):
    path = tmp_path / "cnn.py"
    path.write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        load_source(path)
    assert "cnn.py" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cnn.toml", "cnn.keras"])
def test_only_a_python_file_is_executed(tmp_path, name):
    (tmp_path / name).write_text("x = 1")
    with pytest.raises(RecipeError, match="is no Python file"):
        find_source(tmp_path / name)


def test_an_unknown_zoo_name_lists_the_known_ones():
    with pytest.raises(RecipeError, match="Did you mean 'mnist_cnn'"):
        find_source("mnist_cn")
