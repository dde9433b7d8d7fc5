"""Files of labels: one a line, or JSON."""

import pytest

from toolkit.errors import RecipeError
from toolkit.exporting.labels import read_labels


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("cat\r\n big dog \r\n\n", ("cat", "big dog")),
        ("\ufeffkéa\n鳥", ("kéa", "鳥")),
        ("crane\ncrane\n", ("crane", "crane")),
        ('["cat", "dog"]', ("cat", "dog")),
        ('{"1": "dog", "0": "cat"}', ("cat", "dog")),
    ],
)
def test_labels_are_read_in_the_order_of_the_classes(tmp_path, content, labels):
    (tmp_path / "labels").write_bytes(content.encode())

    assert read_labels(tmp_path / "labels") == labels


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cat\n\ndog\n", "label 2 in .* is empty"),
        (b"", "label 1 in .* is empty"),
        (b"cat\nd\x1bog\n", "label 2 in .* control characters"),
        (b"a\tb\n", "control characters"),
        (b'["a\\u2028b"]', "control characters"),
        (b"caf\xe9\n", r"is no UTF-8 text \(byte 3\)"),
        (b'["cat"', "is damaged JSON"),
        (b'["cat", 2]', "label 2 in .* is empty or no text"),
        (b'{"0": "cat", "2": "dog"}', "are not the class indices 0 to 1"),
        (b"[" * 100_000, "is damaged JSON"),
    ],
)
def test_another_file_is_one_line(tmp_path, content, message):
    (tmp_path / "labels").write_bytes(content)

    with pytest.raises(RecipeError, match=message) as caught:
        read_labels(tmp_path / "labels")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_one_line(tmp_path):
    with pytest.raises(RecipeError, match="does not exist"):
        read_labels(tmp_path / "none.txt")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_labels(tmp_path)
