"""Files that are replaced as a whole: all of them, or none."""

import errno
import os
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .._data.validation import check_value, instance_of


def as_path(name: str, value: Any) -> Path:
    """The value of a parameter that is the path of a file or of a folder."""
    check_value(name, value, (instance_of((str, os.PathLike), "a string or path-like"),))
    return Path(value)


def replace_files(contents: Mapping[Path, bytes]) -> None:
    """Write files, or leave all of them as they were.

    Each is written beside its place and then moved there. A file that exists keeps its permissions;
    of a symbolic link, the file that it points to is replaced. The name of the temporary file does
    not depend on the name of the file, which may have the maximum length.
    """
    targets = {_target(path): (path, raw) for path, raw in contents.items()}
    temporary: dict[Path, Path] = {}
    try:
        for target, (path, raw) in targets.items():
            with _naming(path):
                temporary[target] = _write_beside(target, raw)
        _move(temporary, {target: path for target, (path, _) in targets.items()})
    finally:
        for left in temporary.values():
            left.unlink(missing_ok=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors name the file instead of the temporary file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _target(path: Path) -> Path:
    """The file that a path stands for, which must be a regular file if it exists."""
    with _naming(path):
        target = Path(os.path.realpath(path))
        with suppress(FileNotFoundError):
            mode = target.stat().st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(mode):  # a device would be replaced by a file
                raise OSError(errno.EINVAL, "Not a regular file")
    return target


def _write_beside(target: Path, raw: bytes) -> Path:
    temporary = _name_beside(target)
    try:
        with open(temporary, "xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            _copy_permissions(target.stat(), temporary)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _copy_permissions(old: os.stat_result, path: Path) -> None:
    if hasattr(os, "chown"):
        with suppress(OSError):  # only the superuser can give files away
            os.chown(path, old.st_uid, old.st_gid)
    path.chmod(stat.S_IMODE(old.st_mode))


def _name_beside(target: Path) -> Path:
    return target.with_name(f".skae-{uuid.uuid4().hex}")


def _move(temporary: dict[Path, Path], paths: dict[Path, Path]) -> None:
    """Move all files to their places; if one cannot be moved, move the others back."""
    old: dict[Path, Path | None] = {}
    try:
        for target, new in temporary.items():
            with _naming(paths[target]):
                # A single file needs no way back, and its name always stands for a whole file.
                old[target] = _set_aside(target) if len(temporary) > 1 else None
                os.replace(new, target)
    except BaseException:
        for target, kept in old.items():
            if kept is not None:
                os.replace(kept, target)
            elif len(temporary) > 1:
                target.unlink(missing_ok=True)
        raise
    finally:
        for kept in old.values():
            if kept is not None:  # a file that was not moved has two names still
                kept.unlink(missing_ok=True)


def _set_aside(target: Path) -> Path | None:
    """A second name of a file, None if there is no such file."""
    kept = _name_beside(target)
    try:
        os.link(target, kept)
    except FileNotFoundError:
        return None
    except OSError:  # a file system without links
        kept.write_bytes(target.read_bytes())
    return kept
