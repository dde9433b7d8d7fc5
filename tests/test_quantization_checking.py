import pytest

from toolkit.contract import Dimension, OutputKind, OutputSpec
from toolkit.quantization.checking import Comparison, has_classes

OUTPUTS = [
    ("probabilities", ("batch", 10), True),
    ("logits", ("batch", 1), True),
    ("logits", ("batch",), False),  # one value per sample, no axis of classes
    ("raw", ("batch", 10), False),
    ("embedding", ("batch", 64), False),
]


@pytest.mark.parametrize(("kind", "shape", "classes"), OUTPUTS)
def test_classes_need_scores_and_an_axis(
    kind: OutputKind, shape: tuple[Dimension, ...], classes: bool
) -> None:
    assert has_classes(OutputSpec("y", "float32", shape, kind)) == classes


@pytest.mark.parametrize(
    ("right_float", "right_int8", "samples", "drop"),
    [
        (4850, 4845, 5000, 0.1),
        (9, 8, 10, 10.0),
        (290, 261, 1000, 2.9),
        (5, 7, 8, -25.0),
        (3, 3, 3, 0.0),
    ],
)
def test_a_drop_is_exact_to_the_last_bit(
    right_float: int, right_int8: int, samples: int, drop: float
) -> None:
    assert Comparison(samples, right_float, right_int8, None, 0.0).drop == drop


def test_without_labels_there_is_no_drop() -> None:
    comparison = Comparison(5, None, None, 1.0, 40.0)
    assert (comparison.top1_float, comparison.top1_int8, comparison.drop) == (None, None, None)
