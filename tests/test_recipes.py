"""Built-in files are found by name, and a wrong key is one line with the closest known one."""

import ast
from pathlib import Path

import pytest

from toolkit import recipes
from toolkit.errors import ModelError, RecipeError

PACKAGE = Path(recipes.__file__).parent


class Inner(recipes.Table):
    epochs: int = 5
    rate: float = 0.1


class Outer(recipes.Table):
    name: str
    training: Inner = Inner()


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_a_recipe_is_read_and_frozen(tmp_path):
    recipe = recipes.read_toml(written(tmp_path, 'name = "a"\n[training]\nepochs = 2\n'), Outer)
    assert recipe.training.epochs == 2
    with pytest.raises(ValueError, match="frozen"):
        recipe.training.epochs = 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "a"\n[training]\nepoch = 2\n', r"'training\.epoch'\. Did you mean 'epochs'\?"),
        ('name = "a"\nxyzzy = 2\n', r"unknown key 'xyzzy'\. Known: name, training"),
        ("[training]\n", "the key 'name' is missing"),
        ('name = "a"\n[training]\nepochs = "x"\n', r"'training\.epochs' is 'x'; input should be"),
        ("name = ", "is no valid TOML"),
    ],
)
def test_a_wrong_recipe_is_one_line(tmp_path, text, message):
    with pytest.raises(RecipeError, match=message) as raised:
        recipes.read_toml(written(tmp_path, text), Outer)
    assert "\n" not in str(raised.value)
    assert "recipe.toml" in str(raised.value)


def test_a_name_is_a_built_in_and_a_suffix_makes_it_a_path(tmp_path):
    assert recipes.find("models", "mnist_cnn").name == "mnist_cnn.toml"
    with pytest.raises(RecipeError, match=r"'mnist_cnn\.toml' does not exist"):
        recipes.find("models", "mnist_cnn.toml")
    with pytest.raises(RecipeError, match=r"Did you mean 'mnist_cnn'\? Known: "):
        recipes.find("models", "mnist_cn")
    with pytest.raises(RecipeError, match="is a directory"):
        recipes.find("models", str(tmp_path))


def test_a_zoo_name_stands_for_its_model_file(tmp_path):
    assert recipes.find_model("mnist_cnn", ".onnx", ".keras").name == "mnist_cnn.onnx"
    assert recipes.find_model("mnist_cnn", ".keras").name == "mnist_cnn.keras"
    with pytest.raises(ModelError, match=r"no model of the zoo\. Did you mean 'mnist_cnn'"):
        recipes.find_model("mnist_cnnn", ".onnx")
    with pytest.raises(ModelError, match="does not exist"):
        recipes.find_model(str(tmp_path / "a.onnx"), ".onnx")


def test_a_folder_of_that_name_does_not_shadow_a_built_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist_cnn").mkdir()
    assert recipes.find("models", "mnist_cnn").name == "mnist_cnn.toml"
    assert recipes.find_model("mnist_cnn", ".onnx").name == "mnist_cnn.onnx"
    (tmp_path / "own").mkdir()
    assert recipes.find_model("own", ".onnx") == Path("own")


def test_the_package_never_imports_the_content_folders():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            roots = {name.split(".")[0] for name in names}
            assert not roots & {"models", "quantize", "bench"}, path


def test_tensorflow_is_imported_in_training_and_exporting_only():
    homes = {"training", "exporting"}
    for path in PACKAGE.rglob("*.py"):
        if homes & set(path.parts) or path.name == "quiet_tensorflow.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = getattr(node, "module", None) or ""
                names = [module, *(alias.name for alias in node.names)]
                roots = {name.split(".")[0] for name in names}
                assert not roots & {"tensorflow", "keras", "tf2onnx"}, path
