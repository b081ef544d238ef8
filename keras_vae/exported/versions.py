"""Numbered folders of a served model, each of which appears whole."""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

UNFINISHED = ".unfinished-"  # a server reads folders whose names are numbers, and no others
NUMBER = re.compile(r"[0-9]{1,18}")  # within an int64, which a server's are

# Its input ends when the process that exports does, however that ends.
GUARD = """
import contextlib, os, shutil, sys
sys.stdin.read()
shutil.rmtree(sys.argv[1], ignore_errors=True)
with contextlib.suppress(OSError):
    for folder in sys.argv[2:]:
        os.rmdir(folder)
"""


class Version:
    """A version that is being written.

    Attributes:
        path: where to write it.
    """

    def __init__(self, folder: Path, path: Path) -> None:
        self.folder = folder
        self.path = path

    def publish(self) -> Path:
        """Gives it the next number, in one rename."""
        _settle(self.path)
        while True:
            place = self.folder / str(newest(self.folder) + 1)
            try:
                # Not onto a folder with files in it: two exports at once get two numbers.
                return self.path.rename(place)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise


def newest(folder: Path) -> int:
    """The highest version there is, 0 if there is none."""
    return max((int(p.name) for p in folder.iterdir() if NUMBER.fullmatch(p.name)), default=0)


def _settle(path: Path) -> None:
    """Readable by a server, which is another user; and on the disk, if the power fails."""
    for place in (*path.rglob("*"), path):
        place.chmod(0o755 if place.is_dir() else 0o644)
        descriptor = os.open(place, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


@contextlib.contextmanager
def new_version(folder: Path) -> Iterator[Version]:
    """A folder to write a version in, gone if it is not published, even if the process is killed.

    Raises:
        ValueError: if `folder` is a file, or cannot be written.
    """
    there = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path, lock = _locked(folder)
    except OSError as error:
        raise ValueError(
            f"`folder` holds the versions of a model. Expected: a folder that can be written, such "
            f"as models/vae. Received: {folder}, {error.strerror}."
        ) from error
    try:
        with _guarded(path, *([] if there else [folder])):
            _sweep(folder)
            yield Version(folder, path)
    finally:
        os.close(lock)


@contextlib.contextmanager
def _guarded(path: Path, *made: Path) -> Iterator[None]:
    """A process of its own that deletes what is left at the end: the folders that were made if empty."""
    program = [sys.executable, "-I", "-S", "-c", GUARD, str(path), *map(str, made)]
    # In a session of its own, Ctrl-C does not reach it.
    with subprocess.Popen(program, stdin=subprocess.PIPE, start_new_session=True):
        yield


def _locked(folder: Path) -> tuple[Path, int]:
    """A new folder, and its lock, which this process holds until it ends, however it does."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
        with contextlib.suppress(FileNotFoundError):  # swept by another before it was locked
            lock = os.open(path, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return path, lock
            os.close(lock)


def _sweep(folder: Path) -> None:
    """Deletes what was left when even the guards were killed: nobody holds its lock."""
    for path in folder.glob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(lock)
