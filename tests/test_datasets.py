"""Datasets: parts never overlap, content is pinned, bad files are one clear line."""

import gzip
import hashlib
import http.server
import struct
import threading
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.contract import Contract, ImageSpec, InputSpec, OutputSpec
from toolkit.datasets import Split, builtin, evaluation_split, load_dataset, sample
from toolkit.errors import DataError
from toolkit.recipes import builtin_dir

MNIST_FILE = builtin_dir("models") / "data" / "mnist.npz"
MNIST_FILE_SHA256 = "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"
# md5 sums of the idx files as their authors published them, uncompressed.
CANONICAL_MD5 = {
    "x_train": "6bbc9ace898e44ae57da46a324031adb",
    "y_train": "a25bea736e30d166cdddb491f175f624",
    "x_test": "2646ac647ad5339dbf082846283269ea",
    "y_test": "27ae3e4e09519cfbb04c329615203637",
}


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def digits(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 6, 5), np.uint8), rng.integers(0, 3, count, np.uint8)


def write_idx_folder(folder: Path, ending: str = "") -> None:
    for part, count in (("train", 24), ("t10k", 10)):
        images, labels = digits(count, count)
        for what, axes, array in (("images", 3, images), ("labels", 1, labels)):
            content = idx_bytes(array)
            path = folder / f"{part}-{what}-idx{axes}-ubyte{ending}"
            path.write_bytes(gzip.compress(content) if ending else content)


def write_class_folder(folder: Path, names: tuple[str, ...], count: int = 6) -> None:
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.full((4, 5), 40 * number + index, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


def test_mnist_is_the_file_that_is_pinned():
    assert hashlib.sha256(MNIST_FILE.read_bytes()).hexdigest() == MNIST_FILE_SHA256


@pytest.mark.parametrize("key", CANONICAL_MD5)
def test_mnist_arrays_are_the_canonical_idx_files(key):
    with np.load(MNIST_FILE) as archive:
        content = idx_bytes(archive[key])
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert digest == CANONICAL_MD5[key]


def test_mnist_has_three_parts_that_do_not_overlap():
    mnist = load_dataset("mnist")
    assert [len(mnist.training), len(mnist.validation), len(mnist.test)] == [55_000, 5_000, 10_000]
    assert evaluation_split(mnist) == (mnist.test, "test")
    assert mnist.labels == tuple("0123456789")
    with np.load(MNIST_FILE) as archive:
        everything = archive["x_train"]
    parts = np.concatenate([mnist.training.images[:], mnist.validation.images[:]])
    as_rows = {row.tobytes() for row in parts}
    assert as_rows == {row.tobytes() for row in everything}
    held_out = {row.tobytes() for row in mnist.validation.images[:]}
    training = {row.tobytes() for row in mnist.training.images[:]}
    assert not held_out & training


def test_a_download_is_checked_against_the_same_pin_and_cached(tmp_path, monkeypatch):
    # A server on loopback stands in for the public download address.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(builtin, "builtin_dir", lambda kind: tmp_path / "no-such-checkout")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(MNIST_FILE.parent))
    monkeypatch.setattr(handler.func, "log_message", lambda *args: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(builtin, "KERAS_DATASETS", f"http://127.0.0.1:{server.server_port}")
        first = load_dataset("mnist")
        server.shutdown()
    assert first.digest == builtin.MNIST_DIGEST
    assert load_dataset("mnist").digest == builtin.MNIST_DIGEST  # from the cache: no server now


class CutOff(http.server.BaseHTTPRequestHandler):
    """Promises more than it sends."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(bytes(100))

    def log_message(self, *args):
        pass


def test_a_download_that_is_cut_off_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(builtin, "builtin_dir", lambda kind: tmp_path / "no-such-checkout")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), CutOff) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(builtin, "KERAS_DATASETS", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(DataError, match="could not be downloaded"):
            load_dataset("mnist")
        server.shutdown()
    assert not list(tmp_path.rglob("*.npz"))


def test_a_damaged_download_is_refused_and_says_what_to_delete(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(builtin, "builtin_dir", lambda kind: tmp_path / "no-such-checkout")
    cached = builtin.cache_dir() / "mnist.npz"
    cached.parent.mkdir(parents=True)
    images, labels = digits(30)
    np.savez(cached, x_train=images, y_train=labels, x_test=images, y_test=labels)
    with pytest.raises(DataError, match=r"not the mnist .* Delete '.*mnist\.npz'"):
        load_dataset("mnist")


def test_offline_without_data_says_where_to_put_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(builtin, "builtin_dir", lambda kind: tmp_path / "no-such-checkout")
    monkeypatch.setattr(builtin, "KERAS_DATASETS", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"could not be downloaded .* copy mnist\.npz to '.*--data"):
        load_dataset("mnist")
    assert not list((tmp_path / "toolkit").glob("*"))


@pytest.mark.skipif(
    not builtin.DEBIAN_FASHION_MNIST.exists(),
    reason="needs Debian's Fashion-MNIST: apt-get install dataset-fashion-mnist",
)
def test_fashion_mnist_comes_from_debians_package():
    fashion = load_dataset("fashion_mnist")
    assert len(fashion.test) == 10_000
    assert fashion.labels is not None
    assert fashion.labels[9] == "Ankle boot"


def test_npz_in_keras_layout_keeps_its_test_set(tmp_path):
    (x, y), (x_test, y_test) = digits(24), digits(7, 1)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y[:, None], x_test=x_test, y_test=y_test)
    data = load_dataset(tmp_path / "d.npz")
    assert len(data.training) == 22
    assert len(data.validation) == 2
    np.testing.assert_array_equal(data.test.images[:], x_test)
    assert data.whole is None


def test_npz_with_one_set_holds_a_fixed_part_out_and_evaluates_on_all(tmp_path):
    x, y = digits(60)
    np.savez(tmp_path / "d.npz", x=x, y=y, label_names=np.array(["a", "b", "c"]))
    data = load_dataset(tmp_path / "d.npz")
    assert [len(data.training), len(data.validation), len(data.test)] == [44, 4, 12]
    assert len(evaluation_split(data)[0]) == 60
    assert data.labels == ("a", "b", "c")
    again = load_dataset(tmp_path / "d.npz")
    np.testing.assert_array_equal(data.test.images[:], again.test.images[:])


def test_npz_without_labels_gives_samples_alone(tmp_path):
    np.savez(tmp_path / "d.npz", x=digits(20)[0])
    data = load_dataset(tmp_path / "d.npz")
    assert data.training.labels is None
    with pytest.raises(DataError, match="no labels"):
        _ = data.classes


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_folder_and_single_file(tmp_path, ending):
    write_idx_folder(tmp_path, ending)
    folder = load_dataset(tmp_path)
    assert [len(folder.training), len(folder.validation), len(folder.test)] == [22, 2, 10]
    single = load_dataset(tmp_path / f"t10k-images-idx3-ubyte{ending}")
    assert len(evaluation_split(single)[0]) == 10
    np.testing.assert_array_equal(evaluation_split(single)[0].images[:], folder.test.images[:])


def test_folder_of_classes_sorts_numbers_as_numbers(tmp_path):
    write_class_folder(tmp_path, ("10", "9", "2"))
    data = load_dataset(tmp_path)
    assert data.labels == ("2", "9", "10")
    assert evaluation_split(data)[0].images[:].shape == (18, 4, 5)
    assert sorted(evaluation_split(data)[0].labels.tolist()) == [0] * 6 + [1] * 6 + [2] * 6


def test_folder_with_train_and_test_uses_them(tmp_path):
    write_class_folder(tmp_path / "train", ("cat", "dog"), 12)
    write_class_folder(tmp_path / "test", ("cat", "dog"), 2)
    data = load_dataset(tmp_path)
    assert [len(data.training), len(data.validation), len(data.test)] == [22, 2, 4]
    batches = list(data.test.batches(3))
    assert [len(images) for images, _ in batches] == [3, 1]


def test_folder_images_get_the_size_of_the_first_and_colour_when_any_has_it(tmp_path):
    write_class_folder(tmp_path, ("a", "b"))
    Image.new("RGB", (9, 9), (200, 10, 10)).save(tmp_path / "b" / "0.png")
    assert evaluation_split(load_dataset(tmp_path))[0].images[:].shape == (12, 4, 5, 3)


def test_folder_pictures_are_decoded_as_predict_decodes_them(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        ramp = np.linspace(0, 65535, 20).astype(np.uint16).reshape(4, 5)
        Image.fromarray(ramp).save(tmp_path / name / "16bit.png")
        stroke = Image.new("RGBA", (5, 4), (0, 0, 0, 0))
        stroke.putpixel((2, 2), (0, 0, 0, 255))
        stroke.save(tmp_path / name / "stroke.png")
    data = load_dataset(tmp_path)
    wide, drawn = evaluation_split(data)[0].images[:2]
    assert wide[0, 0] == 0
    assert wide[1, 0] == round(65535 * 5 / 19 / 257)
    assert sorted(set(drawn.reshape(-1).tolist())) == [0, 255]


CONTRACT = Contract(
    "digits",
    (InputSpec("image", "uint8", ("batch", 8, 6, 1), ImageSpec("NHWC", "grayscale")),),
    (OutputSpec("p", "float32", ("batch", 10), "probabilities", tuple("0123456789")),),
)


def test_for_a_model_classes_are_numbered_as_it_numbers_them_and_pictures_fit(tmp_path):
    write_class_folder(tmp_path, ("7", "3"))
    Image.new("RGB", (9, 9), (200, 10, 10)).save(tmp_path / "3" / "0.png")
    data = load_dataset(tmp_path, CONTRACT)
    samples = evaluation_split(data)[0]
    assert sorted(set(samples.labels.tolist())) == [3, 7]
    assert samples.images[:].shape == (12, 8, 6)
    assert data.labels == CONTRACT.outputs[0].labels
    assert data.notes == ("pictures are converted to 6x8, grey: as the model takes them",)


def test_a_class_that_the_model_does_not_know_is_refused(tmp_path):
    write_class_folder(tmp_path, ("3", "cat"))
    with pytest.raises(DataError, match="the class 'cat', which 'digits' does not know"):
        load_dataset(tmp_path, CONTRACT)


def test_pictures_of_several_sizes_are_a_note(tmp_path):
    write_class_folder(tmp_path, ("a", "b"))
    Image.new("L", (9, 9)).save(tmp_path / "b" / "0.png")
    assert load_dataset(tmp_path).notes == (
        "pictures are converted to 5x4, grey: the size of the first",
    )


def test_samples_are_drawn_without_replacement_and_by_seed():
    split = Split(np.arange(100)[:, None], np.arange(100))
    first, again, other = (sample(split, 10, seed) for seed in (1, 1, 2))
    assert len(set(first.labels.tolist())) == 10
    assert first.labels.tolist() == again.labels.tolist() != other.labels.tolist()
    assert sample(split, 1000, 0) is split


def _object_array(path: Path) -> None:
    np.savez(path, x=np.array([[1], [1, 2]], dtype=object))


def _bomb(path: Path) -> None:
    """An archive whose directory promises 9 GB; nothing of it may be expanded."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("x", "a", "b"):
            archive.writestr(f"{name}.npy", b"0")
            archive.getinfo(f"{name}.npy").file_size = 3_000_000_000


BAD_FILES = {
    "empty.npz": (lambda p: p.write_bytes(b""), "no .npz archive"),
    "text.npz": (lambda p: p.write_text("hello"), "no .npz archive"),
    "array.npz": (lambda p: p.write_bytes(b"\x93NUMPY\x01\x00v\x00"), "no .npz archive"),
    "bomb.npz": (_bomb, "expands to 9.0 GB"),
    "truncated.npz": (lambda p: p.write_bytes(MNIST_FILE.read_bytes()[:5000]), "no .npz archive"),
    "objects.npz": (_object_array, "Python objects"),
    "names.npz": (lambda p: np.savez(p, a=np.zeros(3)), "has the arrays a"),
    "counts.npz": (
        lambda p: np.savez(p, x=np.zeros((3, 2)), y=np.zeros(2, int)),
        "3 samples, but 2 labels",
    ),
    "floats.npz": (lambda p: np.savez(p, x=np.zeros((3, 2)), y=np.zeros(3)), "labels are float64"),
    "negative.npz": (
        lambda p: np.savez(p, x=np.zeros((3, 2)), y=np.full(3, -1)),
        "label -1 is negative",
    ),
    "nothing.npz": (lambda p: np.savez(p, x=np.zeros((0, 2)), y=np.zeros(0, int)), "at least one"),
    "images-idx3-ubyte": (lambda p: p.write_bytes(b"\0\0\x08\x03abc"), "truncated"),
    "images-idx3-ubyte.gz": (lambda p: p.write_bytes(b"\x1f\x8bnope"), "damaged"),
    "picture.png": (lambda p: p.write_bytes(b"x"), "is no dataset"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, name):
    write, message = BAD_FILES[name]
    write(tmp_path / name)
    with pytest.raises(DataError, match=message) as raised:
        load_dataset(tmp_path / name)
    assert name in str(raised.value)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(DataError, match="Did you mean 'mnist'"):
        load_dataset("mnits")


def test_a_folder_without_classes_or_images_is_refused(tmp_path):
    with pytest.raises(DataError, match="0 sub-folders"):
        load_dataset(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="holds no image files"):
        load_dataset(tmp_path)
