"""Which graph passes run: all, some, or all but some."""

import pytest
from click.testing import CliRunner
from graph_models import build, operators

from toolkit.cli import toolkit as command
from toolkit.errors import RecipeError
from toolkit.graph.cleaning import PASSES, choose_passes, clean, describe_passes

NAMES = tuple(PASSES)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (None, NAMES),
        ("none", ()),
        ("remove_unused,fuse_gemm", ("fuse_gemm", "remove_unused")),
        (["fuse_gemm"], ("fuse_gemm",)),
        (
            "-fuse_gemm, -fold_scale",
            tuple(n for n in NAMES if n not in ("fuse_gemm", "fold_scale")),
        ),
        (["-fuse_gemm"], tuple(name for name in NAMES if name != "fuse_gemm")),
    ],
)
def test_passes_are_chosen_by_name_and_run_in_the_order_of_the_table(wanted, chosen):
    assert choose_passes(wanted) == chosen


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("fuse_gem", r"no graph pass 'fuse_gem'\. Did you mean 'fuse_gemm'\?"),
        ("", "no graph pass ''"),
        ("none,fuse_gemm", "no graph pass 'none'"),
        ("fuse_gemm,-fold_scale", "'fuse_gemm' says what to run and '-fold_scale' what to leave"),
    ],
)
def test_another_choice_is_refused(wanted, message):
    with pytest.raises(RecipeError, match=message):
        choose_passes(wanted)


def test_only_the_chosen_passes_run():
    text = "(float[N,2] x) => (float[N,2] y) { a = Identity(x) b = Relu(a) y = Identity(b) }"
    left, model = build(text), build(text)

    assert clean(left, ()) == {}
    assert operators(left) == ["Identity", "Relu", "Identity"]
    assert clean(model, ["remove_unused"]) == {"remove_unused": 2}
    assert operators(model) == ["Relu"]


def test_the_passes_are_listed_with_what_they_do():
    result = CliRunner().invoke(command, ["export", "--passes", "list"])

    assert result.exit_code == 0
    for name, words in describe_passes().items():
        assert name in result.output
        assert len(words) > 20
