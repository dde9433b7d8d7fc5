"""Files appear whole or not at all; output paths are checked before the work."""

import os

import pytest

from toolkit.errors import OutputError
from toolkit.files import check_output, sha256, whole_file, write_text


def test_a_file_appears_when_the_block_succeeds_with_its_suffix_kept(tmp_path):
    target = tmp_path / "model.onnx"
    with whole_file(target) as temporary:
        assert temporary.suffix == ".onnx"
        assert temporary.parent == tmp_path
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_and_the_old_file_stays_when_the_block_fails(tmp_path, failure):
    target = tmp_path / "model.onnx"
    target.write_text("old")
    with pytest.raises(failure), whole_file(target) as temporary:
        temporary.write_text("half")
        raise failure
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path):
    target = tmp_path / "model.onnx"
    with pytest.raises(OutputError, match=r"'.*model\.onnx' cannot be written: No space left"):
        with whole_file(target):
            raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_files_get_the_permissions_that_the_umask_gives(tmp_path):
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "text")
    finally:
        os.umask(mask)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_check_output_names_what_is_wrong(tmp_path):
    (tmp_path / "there.onnx").write_text("")
    cases = {
        tmp_path / "missing" / "a.onnx": "does not exist; create it first",
        tmp_path: "is a directory",
        tmp_path / "there.onnx": "exists already; add --force",
    }
    for path, message in cases.items():
        with pytest.raises(OutputError, match=message):
            check_output(path)
    assert check_output(tmp_path / "there.onnx", force=True) == tmp_path / "there.onnx"
    assert check_output(str(tmp_path / "new.onnx")) == tmp_path / "new.onnx"


def test_an_output_is_never_one_of_the_inputs(tmp_path):
    model = tmp_path / "m.onnx"
    model.write_text("model")
    (tmp_path / "link.onnx").symlink_to(model)
    for output in (model, tmp_path / "link.onnx"):
        with pytest.raises(OutputError, match="is what this step reads"):
            check_output(output, force=True, inputs=[model])
    assert check_output(tmp_path / "new.onnx", inputs=[model]) == tmp_path / "new.onnx"


def test_a_pipe_or_a_device_is_never_replaced(tmp_path):
    pipe = tmp_path / "pipe.onnx"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="no regular file"):
        check_output(pipe, force=True)
    with pytest.raises(OutputError, match="no regular file"):
        write_text(pipe, "text")
    assert pipe.is_fifo()


def test_a_link_stays_and_the_file_behind_it_is_replaced(tmp_path):
    (tmp_path / "real.onnx").write_text("old")
    (tmp_path / "link.onnx").symlink_to(tmp_path / "real.onnx")
    write_text(tmp_path / "link.onnx", "new")
    assert (tmp_path / "link.onnx").is_symlink()
    assert (tmp_path / "real.onnx").read_text() == "new"


def test_an_output_ends_in_the_suffix_of_its_format(tmp_path):
    for name in ("model", "model.ort", "model.keras"):
        with pytest.raises(OutputError, match=r"must end in \.onnx, the format it is in"):
            check_output(tmp_path / name, suffixes=[".onnx"])
    check_output(tmp_path / "model.onnx", suffixes=[".onnx"])


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")
