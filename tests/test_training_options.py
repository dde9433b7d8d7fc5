import pytest

from toolkit.errors import RecipeError
from toolkit.training.options import file_stems, names, runs, several, trainings
from toolkit.training.recipe import ModelRecipe, read_recipe


def combine(settings=None, *, fast=False, **values):
    return runs(trainings(ModelRecipe(), fast=fast, values=values), several(settings or {}))


def test_without_options_the_recipe_is_one_run():
    (run,) = combine()
    assert (run.epochs, run.batch_size, run.optimizer, run.learning_rate) == (5, 32, "adam", 0.001)
    assert run.schedule == "constant"
    assert names([run]) == [""]
    assert file_stems([""]) == ["1"]


def test_several_values_run_every_combination():
    every = combine(
        {"pooling": ["max", "avg"], "filters": [(16, 32), (32, 64)]}, optimizer=["adam", "sgd"]
    )
    assert len(every) == 8
    assert names(every)[0] == "optimizer=adam pooling=max filters=16-32"
    assert len(set(names(every))) == 8
    assert file_stems(names(every))[7] == "8_optimizer=sgd_pooling=avg_filters=32-64"


def test_a_tuple_is_one_value_and_a_repeated_value_runs_once():
    assert len(combine({"filters": (16, 32)})) == 1
    assert len(combine({"pooling": ["max", "max"]}, epochs=[3, 3, 4])) == 2


def test_fast_replaces_the_recipe_and_an_option_replaces_fast():
    (run,) = combine(fast=True, epochs=9)
    assert (run.epochs, run.batch_size, run.schedule) == (9, 128, "cosine")


@pytest.mark.parametrize(
    ("values", "rates"),
    [
        ({"optimizer": ["adam", "sgd"]}, [0.001, None]),
        ({"optimizer": ["adam", "sgd"], "learning_rate": 0.1}, [0.1, 0.1]),
        ({"optimizer": "sgd"}, [None]),
    ],
)
def test_the_recipes_learning_rate_belongs_to_its_own_optimizer(values, rates):
    every = combine(**values)
    assert [run.learning_rate for run in every] == rates
    assert "learning_rate" not in names(every)[0]


def test_names_become_file_names_that_no_value_can_break_out_of():
    every = combine({"activation": ["../../x", "a b/c"]})
    assert file_stems(names(every)) == ["1_activation=.._.._x", "2_activation=a_b_c"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "'epochs' is 0"),
        ({"epochs": [3, -1]}, "'epochs' is -1"),
        ({"batch_size": 0}, "'batch_size' is 0"),
        ({"learning_rate": 0.0}, "'learning_rate' is 0.0"),
        ({"learning_rate": float("nan")}, "'learning_rate' is nan"),
        ({"learning_rate": float("inf")}, "'learning_rate' is inf"),
        ({"optimizer": "adm"}, "'optimizer' is 'adm'.*'adam'"),
        ({"seed": -1}, "'seed' is -1"),
    ],
)
def test_a_value_out_of_range_is_named(values, message):
    with pytest.raises(RecipeError, match=message):
        combine(**values)


def test_the_zoo_recipe_is_the_one_that_its_file_documents():
    from toolkit.recipes import find

    recipe = read_recipe(find("models", "mnist_cnn", ".py"))
    training = recipe.training
    assert (training.epochs, training.batch_size, training.optimizer) == (5, 32, "adam")
    assert recipe.input.scale == 1 / 255
    assert recipe.input.preparation == "mnist"
    assert recipe.output.labels == tuple("0123456789")


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[training]\nepoch = 3", "unknown key 'training.epoch'. Did you mean 'epochs'"),
        ("[trainig]\nepochs = 3", "unknown key 'trainig'. Did you mean 'training'"),
        ("[fast]\nwarm_up = 1.5", "'fast.warm_up' is 1.5"),
        ('[output]\nkind = "softmax"', "'output.kind' is 'softmax'"),
        ("[training", "is no valid TOML"),
    ],
)
def test_a_wrong_recipe_names_its_file_and_key(tmp_path, toml, message):
    (tmp_path / "cnn.toml").write_text(toml)
    with pytest.raises(RecipeError, match=message) as caught:
        read_recipe(tmp_path / "cnn.py")
    assert "cnn.toml" in str(caught.value)


def test_a_model_without_a_recipe_gets_the_defaults(tmp_path):
    assert read_recipe(tmp_path / "cnn.py") == ModelRecipe()
