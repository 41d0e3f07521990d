import os
import stat
import threading
from pathlib import Path
from typing import IO

import pytest

from worker.errors import WorkerError
from worker.store import FileStore


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now_s


def name(number: int) -> str:
    return f"alpha_1700000000_{number:022d}.png"


def make_store(
    directory: Path,
    *,
    max_files: int = 10,
    max_age_s: float = 100,
    max_bytes: int = 1000,
    clock: Clock | None = None,
) -> FileStore:
    return FileStore(
        directory, max_files=max_files, max_age_s=max_age_s, max_bytes=max_bytes, clock=clock or Clock()
    )


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_was_written_can_be_read(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.write(name(1), b"picture")
    assert store.read(name(1)) == b"picture"
    assert store.size() == (1, 7)


def test_the_directory_is_made_and_only_its_user_can_read_the_files(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    make_store(directory).write(name(1), b"picture")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / name(1)).stat().st_mode) == 0o600
    assert files(directory) == [name(1)]


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    store = make_store(tmp_path, max_files=2)
    for number in range(3):
        store.write(name(number), b"x")
    assert files(tmp_path) == [name(1), name(2)]
    assert store.read(name(0)) is None


def test_the_oldest_go_when_they_have_too_many_bytes(tmp_path: Path) -> None:
    store = make_store(tmp_path, max_bytes=10)
    store.write(name(0), b"x" * 4)
    store.write(name(1), b"x" * 6)
    assert files(tmp_path) == [name(0), name(1)]
    store.write(name(2), b"x")
    assert files(tmp_path) == [name(1), name(2)]
    assert store.size() == (2, 7)


def test_a_file_beyond_the_byte_bound_is_refused_and_costs_no_other(tmp_path: Path) -> None:
    store = make_store(tmp_path, max_bytes=10)
    store.write(name(0), b"x" * 10)
    with pytest.raises(WorkerError, match="11 bytes") as caught:
        store.write(name(1), b"x" * 11)
    assert caught.value.code == "result_too_large"
    assert files(tmp_path) == [name(0)]


def test_a_file_is_gone_once_it_is_older_than_allowed(tmp_path: Path) -> None:
    clock = Clock()
    store = make_store(tmp_path, max_age_s=100, clock=clock)
    store.write(name(0), b"x")
    clock.now_s += 100
    assert store.read(name(0)) == b"x"
    clock.now_s += 0.001
    assert store.read(name(0)) is None
    assert files(tmp_path) == []


def test_a_file_that_was_not_written_here_is_not_served(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    (tmp_path / name(7)).write_bytes(b"somebody else's")
    assert store.read(name(7)) is None
    assert (tmp_path / name(7)).exists()


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    store = make_store(tmp_path / "store")
    store.write(name(1), b"public")
    (tmp_path / "store" / name(1)).unlink()
    (tmp_path / "store" / name(1)).symlink_to(secret)
    assert store.read(name(1)) is None
    assert secret.read_bytes() == b"secret"


def test_another_file_in_the_place_of_a_file_is_not_served(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.write(name(1), b"public")
    # Written beside it first, so that it cannot get the same inode.
    (tmp_path / "other").write_bytes(b"secret")
    (tmp_path / "other").replace(tmp_path / name(1))
    assert store.read(name(1)) is None


def test_a_named_pipe_in_the_place_of_a_file_does_not_block(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.write(name(1), b"public")
    (tmp_path / name(1)).unlink()
    os.mkfifo(tmp_path / name(1))
    assert store.read(name(1)) is None


@pytest.mark.parametrize(
    "filename",
    [
        "",
        ".",
        "..",
        "../x.png",
        "/etc/passwd",
        "alpha_1_x.png",
        name(1) + "\n",
        name(1) + "\0",
        "." + name(1),
    ],
)
def test_only_names_of_the_one_form_are_written(tmp_path: Path, filename: str) -> None:
    with pytest.raises(ValueError, match="name"):
        make_store(tmp_path).write(filename, b"x")
    assert files(tmp_path) == []


def test_a_name_is_written_once(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.write(name(1), b"first")
    with pytest.raises(ValueError, match="taken"):
        store.write(name(1), b"second")
    assert store.read(name(1)) == b"first"
    assert files(tmp_path) == [name(1)]


def test_old_files_of_earlier_processes_are_removed_and_nothing_else_is(tmp_path: Path) -> None:
    clock = Clock()
    names = {"old": name(1), "old-half": ".writing-abc", "young": name(2), "other": "notes.txt"}
    for filename in names.values():
        (tmp_path / filename).write_bytes(b"x")
        os.utime(tmp_path / filename, (clock.now_s - 101, clock.now_s - 101))
    os.utime(tmp_path / names["young"], (clock.now_s, clock.now_s))
    (tmp_path / name(3)).symlink_to(tmp_path / "notes.txt")
    make_store(tmp_path, max_age_s=100, clock=clock)
    assert files(tmp_path) == sorted([names["young"], names["other"], name(3)])


def leave(path: Path, written_at_s: float) -> None:
    path.write_bytes(b"x")
    os.utime(path, (written_at_s, written_at_s))


@pytest.mark.parametrize("leftover", [name(7), ".writing-abc"])
def test_files_that_others_leave_later_are_removed_at_most_once_in_the_age_of_a_file(
    tmp_path: Path, leftover: str
) -> None:
    clock = Clock()
    store = make_store(tmp_path, max_age_s=100, clock=clock)
    leave(tmp_path / leftover, clock.now_s - 101)
    clock.now_s += 99
    store.size()
    assert files(tmp_path) == [leftover]
    clock.now_s += 1
    store.write(name(1), b"picture")
    assert files(tmp_path) == [name(1)]

    leave(tmp_path / leftover, clock.now_s - 101)
    clock.now_s += 99
    assert store.read(name(1)) == b"picture"
    assert files(tmp_path) == sorted([name(1), leftover])
    clock.now_s += 1
    assert store.read(name(1)) == b"picture"
    assert files(tmp_path) == [name(1)]


def test_a_later_sweep_spares_what_is_young_and_what_this_process_keeps(tmp_path: Path) -> None:
    clock = Clock()
    store = make_store(tmp_path, max_age_s=100, clock=clock)
    clock.now_s += 50
    store.write(name(1), b"picture")
    # The disk's clock may differ from this process's.
    os.utime(tmp_path / name(1), (clock.now_s - 1000, clock.now_s - 1000))
    leave(tmp_path / ".writing-young", clock.now_s)
    clock.now_s += 50
    assert store.read(name(1)) == b"picture"
    assert files(tmp_path) == [".writing-young", name(1)]


def test_a_sweep_spares_a_file_that_another_thread_is_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    store = make_store(tmp_path, max_age_s=100, clock=clock)
    fdopen = os.fdopen

    def open_after_a_sweep(descriptor: int, mode: str) -> IO[bytes]:
        for temporary in tmp_path.iterdir():
            os.utime(temporary, (clock.now_s - 101, clock.now_s - 101))
        clock.now_s += 100
        store.size()
        return fdopen(descriptor, mode)

    monkeypatch.setattr(os, "fdopen", open_after_a_sweep)
    store.write(name(1), b"picture")
    assert files(tmp_path) == [name(1)]


def test_a_directory_that_cannot_be_swept_later_is_no_fault_of_the_reader(tmp_path: Path) -> None:
    clock = Clock()
    directory = tmp_path / "store"
    store = make_store(directory, max_age_s=100, clock=clock)
    directory.rmdir()
    clock.now_s += 100
    assert store.read(name(1)) is None
    assert store.size() == (0, 0)


def test_threads_that_write_and_read_at_once_keep_the_bounds(tmp_path: Path) -> None:
    store = make_store(tmp_path, max_files=3)
    wrong: list[object] = []

    def work(thread: int) -> None:
        for number in range(20):
            filename = name(thread * 100 + number)
            store.write(filename, filename.encode())
            found = store.read(filename)
            if found not in (filename.encode(), None):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert store.size()[0] == len(files(tmp_path)) == 3
