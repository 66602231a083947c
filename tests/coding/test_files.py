"""Files that are whole or not there, and keep what their users gave them."""

import contextlib
import os
import stat
import tempfile

import pytest

from coding import files
from coding.errors import UserError, message_of


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@contextlib.contextmanager
def umask(value):
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def test_a_new_file_has_the_permissions_of_open(tmp_path):
    with umask(0o027):
        files.write(str(tmp_path / "new" / "a"), b"1")
    assert mode_of(tmp_path / "new" / "a") == 0o640 and os.listdir(tmp_path / "new") == ["a"]


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(mode)
    files.write(str(path), b"new")
    assert path.read_bytes() == b"new" and mode_of(path) == mode


@pytest.mark.parametrize("is_there", [True, False])
def test_what_a_link_points_to_is_written(tmp_path, is_there):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "link").symlink_to(os.path.join("folder", "a"))  # relative to the link
    (tmp_path / "chain").symlink_to(tmp_path / "link")
    if is_there:
        (folder / "a").write_bytes(b"old")
    with files.replacing(str(tmp_path / "chain")) as temporary:
        assert os.path.dirname(temporary) == str(folder)
        with open(temporary, "wb") as file:
            file.write(b"new")
    assert (tmp_path / "chain").is_symlink() and (tmp_path / "link").is_symlink()
    assert (folder / "a").read_bytes() == b"new" and os.listdir(folder) == ["a"]


def test_a_link_to_itself_is_not_replaced(tmp_path):
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(UserError, match="leads nowhere"):
        files.write(str(tmp_path / "a"), b"new")
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").is_symlink()


@pytest.mark.parametrize(
    "name", ["a" * 255, "é" * 127, "語" * 85, "%d{} [1]\n-", b"\xff\xfe".decode(errors="surrogateescape")]
)
def test_every_name_that_a_file_can_have_can_be_written(tmp_path, name):
    files.write(str(tmp_path / name), b"1")
    files.write(str(tmp_path / name), b"2")
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_bytes() == b"2"


def test_a_long_path_can_be_written(tmp_path):
    limit = os.pathconf(tmp_path, "PC_PATH_MAX") - 1
    folder = str(tmp_path)
    while len(folder) + 300 < limit:
        folder = os.path.join(folder, "d" * 200)
    path = os.path.join(folder, "n" * (limit - len(folder) - 1))
    files.write(path, b"1")
    with open(path, "rb") as file:
        assert len(path) == limit and file.read() == b"1"


def failing(path, error):
    with pytest.raises(OSError) as caught, files.replacing(str(path)):
        raise error
    return message_of(caught.value)


def test_an_error_names_the_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "a"
    assert failing(path, OSError(28, "No space left on device")) == f"{path}: No space left on device"
    assert failing(path, OSError("the encoder failed")) == "the encoder failed"
    assert "elsewhere: " in failing(path, OSError(2, "No such file", "elsewhere"))
    assert os.listdir(tmp_path) == []
    path.write_bytes(b"kept")
    assert message_of(OSError(2, "b", "c")) in failing(path, OSError(2, "b", "c"))
    assert path.read_bytes() == b"kept" and os.listdir(tmp_path) == ["a"]
    with pytest.raises(UserError, match="in the place of its folder"):
        files.write(str(path / "b"), b"")


@pytest.fixture
def protected():
    """A folder where nothing may be written, as a user who is not root sees it."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "kept"), "wb") as file:
            file.write(b"kept")
        os.chmod(os.path.join(folder, "kept"), 0o444)
        os.chmod(folder, 0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(user)
            os.chmod(folder, 0o755)


def test_what_is_protected_is_told_by_its_name(protected):
    with pytest.raises(OSError) as caught:
        files.write(os.path.join(protected, "a"), b"")
    assert message_of(caught.value) == f"{protected}/a: Permission denied"
    with pytest.raises(OSError) as caught:
        files.write(os.path.join(protected, "b", "a"), b"")
    assert message_of(caught.value) == f"{protected}/b: Permission denied"
    assert os.listdir(protected) == ["kept"]


def test_a_file_that_must_not_change_is_refused_where_its_folder_may(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"kept")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may change everything
    with pytest.raises(UserError, match="write-protected"):
        files.write(str(tmp_path / "a"), b"new")
    assert (tmp_path / "a").read_bytes() == b"kept"


def test_devices_and_pipes_are_written_to_and_not_replaced(tmp_path):
    files.write(os.devnull, b"1")
    assert files.is_stream(os.devnull) and stat.S_ISCHR(os.stat(os.devnull).st_mode)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write(str(tmp_path / "pipe"), b"1")
        assert os.read(reader, 9) == b"1" and os.listdir(tmp_path) == ["pipe"]
    finally:
        os.close(reader)
    for path in os.devnull, str(tmp_path), str(tmp_path / "pipe"), "/dev/stdout":
        with pytest.raises(UserError, match=f"{path}: is "), files.replacing(path):
            pass
    assert not files.is_stream(str(tmp_path)) and not files.is_stream(str(tmp_path / "a"))
