"""Files are replaced as a whole, and stay what they are."""

import builtins
import os
import stat

import pytest
from sklearn.decomposition import PCA

from skae import load, save
from skae._export.replacement import replace_files


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o777])
def test_permissions_are_kept(path, mode):
    path.write_bytes(b"old")
    path.chmod(mode)
    replace_files({path: b"new"})
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_permissions_of_the_process(path):
    before = os.umask(0o027)
    try:
        replace_files({path: b"new"})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_is_kept(path, tmp_path, exists):
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    if exists:
        target.write_bytes(b"old")
    path.symlink_to(target)
    replace_files({path: b"new"})
    assert path.is_symlink()
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["target"]


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    path = tmp_path / ("m" * longest)
    save(PCA(), path)
    assert load(path).get_params() == PCA().get_params()
    with pytest.raises(OSError, match=f"'{path}m'"):
        replace_files({path.with_name(path.name + "m"): b"new"})
    assert os.listdir(tmp_path) == [path.name]


def test_errors_name_the_file_itself(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"/missing/file'$"):
        replace_files({tmp_path / "missing" / "file": b"new"})
    with pytest.raises(IsADirectoryError, match=f"'{tmp_path}'$"):
        replace_files({tmp_path: b"new"})
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(NotADirectoryError, match=r"/file/inner'$"):
        replace_files({tmp_path / "file" / "inner": b"new"})


def test_a_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"Not a regular file: .*pipe'$"):
        replace_files({tmp_path / "pipe": b"new"})
    assert os.listdir(tmp_path) == ["pipe"]


def fails_at(function, count):
    """The function, which raises an error when it is called for the last of `count` times."""
    calls = []

    def failing(*args, **kwargs):
        calls.append(args)
        if len(calls) == count:
            raise OSError(28, "No space left on device", "temporary")
        return function(*args, **kwargs)

    return failing


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("module_and_name", [(builtins, "open"), (os, "replace"), (os, "fsync")])
@pytest.mark.parametrize("exists", [(True, True, True), (False, True, False)])
def test_all_files_are_replaced_or_none(tmp_path, monkeypatch, count, module_and_name, exists):
    module, name = module_and_name
    paths = [tmp_path / name for name in "abc"]
    for path, there in zip(paths, exists, strict=True):
        if there:
            path.write_bytes(b"old")
    before = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(module, name, fails_at(getattr(module, name), count))
        with pytest.raises(OSError, match=f"No space left on device: '{paths[count - 1]}'"):
            replace_files(dict.fromkeys(paths, b"new"))
    assert {path.name: path.stat().st_ino for path in tmp_path.iterdir()} == before
    assert all(path.read_bytes() == b"old" for path in tmp_path.iterdir())
    replace_files(dict.fromkeys(paths, b"new"))
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]
    assert all(path.read_bytes() == b"new" for path in paths)
