import pytest

from toolkit.quantization.budget import Budget
from toolkit.quantization.checking import Comparison

DROPS = [
    # right in float, right in int8, samples, budget, kept
    (4850, 4845, 5000, 0.1, True),  # 100 * (0.97 - 0.969) is 0.10000000000000009
    (4850, 4844, 5000, 0.1, False),
    (9, 8, 10, 10, True),
    (7, 6, 10, 10, True),
    (290, 261, 1000, 2.9, True),
    (10, 9, 13, 100 / 13, True),
    (4850, 4850, 5000, 0, True),
    (4850, 4849, 5000, 0, False),
    (4845, 4850, 5000, 0, True),
]


@pytest.mark.parametrize(("right_float", "right_int8", "samples", "limit", "kept"), DROPS)
def test_a_drop_of_exactly_the_budget_keeps_it(
    right_float: int, right_int8: int, samples: int, limit: float, kept: bool
) -> None:
    comparison = Comparison(samples, right_float, right_int8, 1.0, 40.0)
    assert Budget(max_drop=limit).keeps(comparison) is kept


AGREEMENTS = [(299, 300, 299 / 3, True), (2, 3, 66.7, False), (7, 7, 100, True), (9, 10, 90, True)]


@pytest.mark.parametrize(("same", "samples", "limit", "kept"), AGREEMENTS)
def test_an_agreement_of_exactly_the_budget_keeps_it(
    same: int, samples: int, limit: float, kept: bool
) -> None:
    comparison = Comparison(samples, None, None, same / samples, 40.0)
    assert Budget(min_agreement=limit).keeps(comparison) is kept


def test_every_limit_that_is_given_has_to_be_kept() -> None:
    comparison = Comparison(100, 90, 89, 0.98, 30.0)
    assert Budget(max_drop=1, min_agreement=98, min_sqnr=30).keeps(comparison)
    assert not Budget(max_drop=0.9, min_agreement=98, min_sqnr=30).keeps(comparison)
    assert not Budget(max_drop=1, min_agreement=98.1, min_sqnr=30).keeps(comparison)
    assert not Budget(max_drop=1, min_agreement=98, min_sqnr=30.1).keeps(comparison)


def test_a_figure_that_is_missing_keeps_no_budget() -> None:
    comparison = Comparison(100, None, None, None, 30.0)
    for budget in (Budget(max_drop=100), Budget(min_agreement=0)):
        assert not budget.keeps(comparison)
        assert not budget.decides(comparison)
    assert Budget(min_sqnr=10).decides(comparison)


def test_the_nearest_to_the_budget_ranks_first_and_of_equals_the_finer() -> None:
    budget = Budget(max_drop=0.5)
    found = [
        Comparison(1000, 900, 880, 0.97, 40.0),
        Comparison(1000, 900, 890, 0.98, 20.0),
        Comparison(1000, 900, 890, 0.98, 25.0),
    ]
    assert sorted(found, key=budget.rank) == [found[2], found[1], found[0]]


def test_options_come_before_the_recipe_one_by_one() -> None:
    assert Budget(max_drop=1).or_else(Budget(2, 99, None)) == Budget(1, 99, None)
    assert not Budget()
    assert Budget(max_drop=0)


def test_a_budget_reads_as_text() -> None:
    assert str(Budget(0.1, None, 30)) == "at most 0.1 points of top-1 lost, at least 30 dB"


@pytest.mark.parametrize(
    "limits", [{"max_drop": -1}, {"min_agreement": 101}, {"min_sqnr": float("inf")}]
)
def test_limits_out_of_range_are_value_errors(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(limits))):
        Budget(**limits)
