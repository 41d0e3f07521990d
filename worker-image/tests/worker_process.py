"""The worker as a process, with its log."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE_S = 90.0
"""How long a test waits for what must happen; reached only when it does not."""

ROOT = Path(__file__).parent.parent

FAKE_WORKER = """
import sys
import threading
import handler
from tests.fake_renderer import FakeRenderer

def before_step(request, step):
    if request.prompt == "broken":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if request.prompt == "held" and step == 2:
        print("held", flush=True)
        sys.stdin.readline()

def load(settings):
    if sys.argv[1:] == ["never"]:
        threading.Event().wait()
    return FakeRenderer(before_step)

if __name__ == "__main__":
    sys.exit(handler.main(load))
"""
"""The worker without torch: starts in a second or two. A job "held" waits in its second step for a line."""


class WorkerProcess:
    """A running worker; both its streams are read as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of the worker's own log so far."""
        found = []
        for line in self.lines:
            if line.startswith("{"):
                record = json.loads(line)
                if "event" in record:
                    found.append(record)
        return found

    def jobs(self, job_id: str) -> list[dict[str, Any]]:
        """Wait for the line of a job, and return all that there are."""
        self.wait_for_line(f'"id": "{job_id}", "code": ')
        return [record for record in self.records if record["event"] == "job" and record["id"] == job_id]

    def wait_for_line(self, text: str) -> str:
        """Wait until a line with `text` is written, and return it."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or any(text in line for line in self.lines), PATIENCE_S
            )
            found = [line for line in self.lines if text in line]
            assert found, f"no line with {text!r} in:\n{self.output()}"
            return found[0]

    def wait_for_event(self, event: str) -> dict[str, Any]:
        """Wait for a line of the worker's own log."""
        record: dict[str, Any] = json.loads(self.wait_for_line(f'"event": "{event}"'))
        return record

    def go_on(self) -> None:
        """Let a held job of the fake worker go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_status(self) -> int:
        """Wait for the end, and return the status; negative for the number of a signal."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return status

    def output(self) -> str:
        return "\n".join(self.lines)


@contextmanager
def running_worker(
    home: Path,
    environment: Mapping[str, str],
    arguments: Sequence[str] = ("handler.py",),
    directory: Path = ROOT,
) -> Iterator[WorkerProcess]:
    """Run the worker with this environment alone; it is killed if it outlives the block."""
    process = subprocess.Popen(
        [sys.executable, "-u", *arguments],
        cwd=directory,
        env={
            "PATH": os.environ["PATH"],
            # The SDK would take another key from a user's own configuration.
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "DEVICE": "cpu",
            # More threads than idle cores wait for each other far longer than the tiny model computes.
            "OMP_NUM_THREADS": "1",
            **environment,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # The SDK's pings have a process of their own, which outlives a killed worker.
        start_new_session=True,
    )
    worker = WorkerProcess(process)
    try:
        yield worker
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
