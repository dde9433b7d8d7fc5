from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from quantization_models import cnn, initializer, labelled, pictures, save, tensor

from toolkit.contract import Color, Contract, ImageSpec, InputSpec, OutputSpec
from toolkit.quantization import quantize


def classifier(path: Path, color: Color, matrix: np.ndarray, bias: np.ndarray) -> Path:
    """Scores = mean of each channel times a matrix, of float32 pictures [N, 8, 8, C]."""
    node = helper.make_node
    channels, classes = matrix.shape
    shape: tuple[int | str, ...] = ("n", 8, 8, channels)
    contract = Contract(
        "classifier",
        (InputSpec("x", "float32", shape, ImageSpec("NHWC", color)),),
        (OutputSpec("y", "float32", ("n", classes), "probabilities"),),
    )
    return save(
        path,
        [
            node("ReduceMean", ["x"], ["m"], "mean", axes=[1, 2], keepdims=0),
            node("Gemm", ["m", "w", "b"], ["g"], "dense"),
            node("Softmax", ["g"], ["y"], "softmax"),
        ],
        [tensor("x", list(shape))],
        [tensor("y", ["n", classes])],
        [initializer("w", matrix.astype(np.float32)), initializer("b", bias.astype(np.float32))],
        contract=contract,
    )


def warnings(model: Path, images: np.ndarray, labels: np.ndarray | None = None) -> str:
    data = model.with_name("data.npz")
    # Without labels, an array under the input's own name "x" would be taken for ready tensors.
    np.savez(data, **({"images": images} if labels is None else {"images": images, "y": labels}))
    return " ".join(quantize(model, model.with_name("q.onnx"), data=data, force=True).warnings)


def brightness(path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A model that tells four brightnesses apart, pictures of them in 0 to 1, and their labels."""
    centers = np.array([0.1, 0.35, 0.6, 0.85])
    labels = np.random.default_rng(0).integers(0, 4, 400)
    images = np.broadcast_to(centers[labels, None, None], (400, 8, 8)).astype(np.float32)
    # The largest of 2 c m - c^2 belongs to the c that is nearest to m.
    model = classifier(path, "grayscale", 200 * centers[None], -100 * centers**2)
    return model, images, labels


def test_a_missing_division_by_255_is_named(tmp_path: Path) -> None:
    model, images, labels = brightness(tmp_path / "m.onnx")
    assert warnings(model, images, labels) == ""
    text = warnings(model, images * 255, labels)
    assert "does not look like what it expects: divided by 255, 100 %" in text


def test_inverted_pictures_are_named(tmp_path: Path) -> None:
    model, images, labels = brightness(tmp_path / "m.onnx")
    keep = labels != 1  # its mirror image is the class beside it
    text = warnings(model, 0.95 - images[keep], labels[keep])
    assert "inverted" in text


def test_large_values_without_preprocessing_are_noticed_without_labels(tmp_path: Path) -> None:
    model, images, _ = brightness(tmp_path / "m.onnx")
    assert warnings(model, images) == ""
    assert "pixels/255" in warnings(model, images * 255)


def test_swapped_channels_are_named(tmp_path: Path) -> None:
    model = classifier(tmp_path / "m.onnx", "rgb", 20 * np.eye(3), np.zeros(3))
    labels = np.random.default_rng(0).integers(0, 2, 200) * 2  # red or blue, never green
    images = np.zeros((200, 8, 8, 3), np.float32)
    images[np.arange(200), :, :, labels] = 1
    assert warnings(model, images, labels) == ""
    text = warnings(model, np.ascontiguousarray(images[..., ::-1]), labels)
    assert "with the colour channels in reverse order, 100 %" in text


def test_labels_of_another_dataset_are_noticed(tmp_path: Path) -> None:
    model = cnn(tmp_path / "m.onnx")
    labels = np.random.default_rng(3).integers(0, 10, 300)
    text = warnings(model, pictures(300), labels)
    assert text.endswith("this data does not look like what it expects.")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full((50, 12, 12), 7, np.uint8), "is the constant 7"),
        (np.repeat(pictures(1), 50, axis=0), "are equal"),
        (pictures(50) % 2, "0 and 1 alone"),
    ],
)
def test_samples_without_information_are_noticed(
    tmp_path: Path, images: np.ndarray, message: str
) -> None:
    assert message in warnings(cnn(tmp_path / "m.onnx"), images)


def test_good_data_gives_no_warning(tmp_path: Path) -> None:
    model = cnn(tmp_path / "m.onnx")
    labelled(tmp_path / "data.npz", model, 400)
    result = quantize(model, tmp_path / "q.onnx", data=tmp_path / "data.npz")
    assert result.warnings == ()


def test_remedies_are_tried_on_validation_samples(tmp_path: Path) -> None:
    model, images, labels = brightness(tmp_path / "m.onnx")
    # 400 samples: 80 are test samples, one in twelve of the others are for validation.
    assert "100 % of 26 samples" in warnings(model, images * 255, labels)
