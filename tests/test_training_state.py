import numpy as np
import pytest

from toolkit.errors import OutputError
from toolkit.training import state
from toolkit.training.loop import best_epoch, is_diverged
from toolkit.training.state import Checkpoint, unfinished

PLAN = {"epochs": [5], "model": "cnn.py"}


@pytest.fixture
def output(tmp_path):
    return tmp_path / "cnn.keras"


def checkpoint():
    return Checkpoint(
        model=[np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2], np.uint32)],
        optimizer=[np.array(7, np.int64)] + [np.full(3, i, np.float32) for i in range(12)],
        best=[],
        history={"loss": [0.5, None]},
    )


def test_a_checkpoint_is_read_back_bit_for_bit_and_in_order(tmp_path):
    path = tmp_path / "1.npz"
    state.save(path, checkpoint())
    found = state.load(path)
    for name in ("model", "optimizer", "best"):
        expected = getattr(checkpoint(), name)
        assert len(getattr(found, name)) == len(expected)
        for array, other in zip(getattr(found, name), expected, strict=True):
            assert array.dtype == other.dtype
            np.testing.assert_array_equal(array, other)
    assert found.history == {"loss": [0.5, None]}
    assert [entry.name for entry in tmp_path.iterdir()] == ["1.npz"]


def test_there_is_no_checkpoint_before_the_first():
    assert state.load(state.Path("nowhere.npz")) is None


def test_a_damaged_checkpoint_is_an_error_that_names_the_folder_to_remove(tmp_path):
    path = tmp_path / "1.npz"
    state.save(path, checkpoint())
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(OutputError, match="Remove the folder"):
        state.load(path)


def test_a_state_of_the_same_plan_is_found_again(output):
    with unfinished(output, PLAN) as (folder, found):
        assert not found
        state.save(folder / "1.npz", checkpoint())
    with unfinished(output, PLAN) as (folder, found):
        assert found
        assert (folder / "1.npz").exists()


def test_a_state_of_other_options_is_never_continued_silently(output):
    with unfinished(output, PLAN) as (folder, _):
        state.save(folder / "1.npz", checkpoint())
    other = PLAN | {"epochs": [3]}
    with (
        pytest.raises(OutputError, match=r"differs in 'epochs'.*--force"),
        unfinished(output, other),
    ):
        pass
    assert (folder / "1.npz").exists()
    with unfinished(output, other, force=True) as (folder, found):
        assert not found
        assert not (folder / "1.npz").exists()


def test_a_folder_with_nothing_to_go_on_from_is_removed_even_after_an_error(output):
    with pytest.raises(RuntimeError), unfinished(output, PLAN):
        raise RuntimeError
    assert not output.with_name("cnn.keras.state").exists()


def test_two_trainings_of_one_output_do_not_run_at_once(output):
    with unfinished(output, PLAN) as (folder, _):
        with (
            pytest.raises(OutputError, match="in use by another training"),
            unfinished(output, PLAN),
        ):
            pass
        assert (folder / state.PLAN).exists()


def test_a_foreign_folder_is_left_alone(output):
    folder = output.with_name("cnn.keras.state")
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with (
        pytest.raises(OutputError, match="is no state of a training"),
        unfinished(output, PLAN, force=True),
    ):
        pass
    assert (folder / "thesis.txt").read_text() == "precious"


def test_a_file_in_the_place_of_the_folder_is_an_error(output):
    output.with_name("cnn.keras.state").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"), unfinished(output, PLAN):
        pass


@pytest.mark.parametrize(
    ("accuracy", "loss", "best", "diverged"),
    [
        ([], [], 0, False),
        ([0.5, 0.9, 0.8], [1.0, 0.5, 0.4], 2, False),
        ([0.9, 0.9, 0.9], [0.5, 0.3, 0.4], 2, False),
        ([0.9, 0.9], [0.5, 0.5], 1, False),
        ([0.9, 0.95], [0.5, None], 1, True),
        ([0.1], [None], 0, True),
    ],
)
def test_the_best_epoch_has_the_highest_accuracy_then_the_lowest_loss(
    accuracy, loss, best, diverged
):
    history = {"val_accuracy": accuracy, "val_loss": loss, "loss": loss}
    assert best_epoch(history) == best
    assert is_diverged(history) is diverged
