"""Writing a file so that at any moment either the old one or the new one is there, whole."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

# What systems answer that do not flush folders, or not for those who may not list them.
_NO_FOLDER_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)

# What a name may end with that can only be a folder's.
_SEPARATORS = os.sep + (os.altsep or "")


@contextmanager
def replacing(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of ``path`` once it is on the disk.

    It is written beside it, under a name of its own, and renamed at the end of the ``with``. When
    anything fails, ``path`` is as it was and the new file is gone; a process that is killed may
    leave ``.fastnn-*.tmp`` behind. A symbolic link stays, and what it points to is replaced. A
    file keeps its mode; its owner becomes who wrote it, and its other hard links keep the old
    content.

    Raises
    ------
    OSError
        As :func:`open` for writing: no such folder, a folder itself, no permission, a full disk.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "numbers")
    ...     with replacing(path) as file:
    ...         count = file.write(b"1 2 3")
    ...         there_yet = path.exists()
    ...     there_yet, path.read_bytes()
    (False, b'1 2 3')
    """
    target = _target(os.fsdecode(path))
    mode = _mode(target)
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".fastnn-{os.urandom(8).hex()}.tmp")
    descriptor = _create(temporary, target, private=mode is not None)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if mode is not None:
                os.chmod(temporary, mode)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _flush_folder(folder)


def _target(name: str) -> str:
    """Return the file that a name stands for to :func:`open`; realpath is less strict."""
    if not name:
        raise _error(errno.ENOENT, name)
    bare = name.rstrip(_SEPARATORS)
    if not os.path.isdir(name):
        try:
            # With a separator at the end, so that a file on the way is an error.
            os.stat(os.path.join(os.path.dirname(bare) or os.curdir, ""))
        except OSError as error:
            raise _error(error.errno or errno.ENOENT, name) from None
        if bare != name:
            raise _error(errno.EISDIR, name)
    return os.path.realpath(name)


def _error(number: int, name: str) -> OSError:
    return OSError(number, os.strerror(number), name)


def _mode(target: str) -> int | None:
    """Return the mode of the file that is there, if one is that may be written."""
    try:
        found = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found):
        raise _error(errno.EISDIR, target)
    if not stat.S_ISREG(found):  # renaming over a device would remove it
        raise OSError(errno.EINVAL, "Not a regular file", target)
    # Renaming asks for rights in the folder alone: a file is also kept by being read-only.
    if not os.access(target, os.W_OK):
        raise _error(errno.EACCES, target)
    return stat.S_IMODE(found)


def _create(temporary: str, target: str, *, private: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        # What replaces a private file is private from the start.
        return os.open(temporary, flags, 0o600 if private else 0o666)
    except OSError as error:
        # The caller knows nothing of the temporary name.
        raise OSError(error.errno, error.strerror, target) from None


def _flush_folder(folder: str) -> None:
    """Have the new name on the disk too, where folders can be flushed."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_FLUSH:
            raise
