import pytest

from toolkit.benchmark.page.axes import Axis, around, microseconds, round_microseconds


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (Axis(0.0, 1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (Axis(60.0, 78.0, logarithmic=True), [60, 65, 70, 75]),
        (Axis(10.0, 1200.0, logarithmic=True), [10, 20, 50, 100, 200, 500, 1000]),
        (Axis(10.0, 1e6, logarithmic=True), [10, 1e2, 1e3, 1e4, 1e5, 1e6]),
        (Axis(0.9901, 0.9929), [0.9905, 0.991, 0.9915, 0.992, 0.9925]),
    ],
)
def test_ticks_are_round_numbers_inside_the_axis(axis, expected):
    assert axis.ticks() == pytest.approx(expected)


def test_values_stand_in_percent_and_are_clipped():
    assert [Axis(0, 4).percent(value) for value in (-1, 0, 1, 4, 9)] == [0, 0, 25, 100, 100]
    assert Axis(1, 100, logarithmic=True).percent(10) == 50


def test_all_but_equal_values_do_not_fill_the_axis():
    axis = around([0.5, 0.5001], floor=0.1)
    assert axis.high - axis.low > 0.1
    assert axis.low < 0.5 < axis.high


def test_equal_values_have_an_axis():
    assert around([3.0, 3.0]).low < 3.0 < around([3.0, 3.0]).high


@pytest.mark.parametrize(
    ("value", "text"),
    [(9.876, "9.88 µs"), (65.83, "65.8 µs"), (640, "640 µs"), (1240, "1.24 ms"), (2.5e6, "2.50 s")],
)
def test_times_have_three_digits_in_the_unit_that_suits(value, text):
    assert microseconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(60.0, "60 µs"), (1500, "1.5 ms"), (2e6, "2 s")])
def test_round_times_have_no_empty_decimals(value, text):
    assert round_microseconds(value) == text
