"""The files of the HTTP mode: bounded in number, age and bytes; nothing served that was not written here."""

import contextlib
import os
import re
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worker.errors import WorkerError

FILENAME = re.compile(r"alpha_[0-9]{1,12}_[A-Za-z0-9_-]{22}\.png", re.ASCII)
"""What a stored file is called, as the published image names its files: `worker.output.make_filename`."""

_TEMPORARY_PREFIX = ".writing-"


@dataclass(frozen=True, slots=True)
class _Entry:
    written_at_s: float
    size_bytes: int
    device: int
    inode: int


class FileStore:
    """PNG files in one directory; the oldest go when a bound is passed. Safe for several threads.

    The index lives in memory, so a process serves what it wrote itself and nothing else in the directory.
    Files that another process left are removed once they are older than `max_age_s`: at the start, and again
    at most once in that time.

    Args:
        directory: made with mode 0700 when it is missing.
        max_files: how many files are kept, at least 1.
        max_age_s: seconds after which a file is gone.
        max_bytes: how many bytes the files may have together.
        clock: seconds since 1970; injected by tests.

    """

    def __init__(
        self,
        directory: Path,
        *,
        max_files: int,
        max_age_s: float,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._max_files = max_files
        self._max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        # Insertion order is age: the first entry is the oldest.
        self._entries: dict[str, _Entry] = {}
        self._writing: set[str] = set()
        """Names of temporary files that a thread here is about to put in their place."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._swept_at_s = clock()
        self._sweep_leftovers()

    def write(self, filename: str, data: bytes) -> None:
        """Keep `data` under `filename`, whole or not at all, readable by this user alone.

        Raises:
            ValueError: the name is not of the `FILENAME` form, or is taken.
            WorkerError: `result_too_large`, when the file alone passes the byte bound.

        """
        if not FILENAME.fullmatch(filename):
            raise ValueError("not a name of this store")
        if len(data) > self._max_bytes:
            raise WorkerError(
                "result_too_large",
                f"the picture has {len(data)} bytes, the file store holds at most {self._max_bytes}",
            )
        # mkstemp makes the file with mode 0600.
        descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY_PREFIX, dir=self._directory)
        self._writing.add(Path(temporary).name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                status = os.fstat(file.fileno())
            with self._lock:
                if filename in self._entries:
                    raise ValueError("the name is taken")
                Path(temporary).replace(self._directory / filename)
                self._entries[filename] = _Entry(self._clock(), len(data), status.st_dev, status.st_ino)
                self._evict()
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        finally:
            self._writing.discard(Path(temporary).name)

    def read(self, filename: str) -> bytes | None:
        """Return the bytes kept under `filename`; None when there are none, or another file lies there."""
        with self._lock:
            self._evict()
            entry = self._entries.get(filename)
            if entry is None:
                return None
            try:
                descriptor = os.open(self._directory / filename, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                # Somebody removed the file or put a link in its place.
                self._forget(filename)
                return None
        # Open, the file outlives its eviction by another thread.
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            same = (status.st_dev, status.st_ino) == (entry.device, entry.inode)
            if not same or not stat.S_ISREG(status.st_mode) or status.st_size != entry.size_bytes:
                return None
            return file.read()

    def size(self) -> tuple[int, int]:
        """Return how many files are kept, and how many bytes they have together."""
        with self._lock:
            self._evict()
            return len(self._entries), self._bytes()

    def _bytes(self) -> int:
        return sum(entry.size_bytes for entry in self._entries.values())

    def _evict(self) -> None:
        """Remove what is too old, then the oldest until the bounds hold; the lock is held."""
        now_s = self._clock()
        oldest_allowed_s = now_s - self._max_age_s
        for filename in [
            name for name, entry in self._entries.items() if entry.written_at_s < oldest_allowed_s
        ]:
            self._forget(filename)
        total_bytes = self._bytes()
        while len(self._entries) > self._max_files or total_bytes > self._max_bytes:
            filename, entry = next(iter(self._entries.items()))
            total_bytes -= entry.size_bytes
            self._forget(filename)
        if now_s - self._swept_at_s >= self._max_age_s:
            self._swept_at_s = now_s
            # What cannot be removed harms no picture that is read or written; the next sweep tries again.
            with contextlib.suppress(OSError):
                self._sweep_leftovers()

    def _forget(self, filename: str) -> None:
        del self._entries[filename]
        # unlink removes a link that was put there, never what it points to.
        with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            (self._directory / filename).unlink()

    def _sweep_leftovers(self) -> None:
        """Remove the files of other processes; younger ones may be another worker's on the same volume."""
        oldest_allowed_s = self._clock() - self._max_age_s
        for path in self._directory.iterdir():
            if not FILENAME.fullmatch(path.name) and not path.name.startswith(_TEMPORARY_PREFIX):
                continue
            if path.name in self._entries or path.name in self._writing:
                continue
            # Another worker may sweep the same file.
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_mtime < oldest_allowed_s:
                    path.unlink()
