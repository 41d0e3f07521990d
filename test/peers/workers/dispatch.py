"""A worker that does with each job what its input names under `do`; plain and asynchronous handlers in one.

The SDK calls the handler and awaits what it returns where that can be awaited.
"""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import runpod

Job = dict[str, Any]

PAUSE_S = 0.01


def say(word: str, job: Job) -> None:
    """Print a line that a test waits for."""
    print(f"{word} {job['id']}", flush=True)


def is_open(job: Job, name: str = "") -> bool:
    """Whether the test lets the job go on: it makes a file for it."""
    return Path(job["input"]["gate"] + name).exists()


def echo(job: Job) -> object:
    """Answer the job as it came, and which processes are at work."""
    pings = [child.pid for child in multiprocessing.active_children()]
    return {"job": job, "pid": os.getpid(), "pings": pings, "tag": os.environ.get("TAG")}


async def echo_async(job: Job) -> object:
    """Do the same after a turn of the event loop."""
    await asyncio.sleep(0)
    return echo(job)


def answer(job: Job) -> object:
    """Return what the input holds, of any type."""
    return job["input"]["value"]


def fail(job: Job) -> object:
    """Raise."""
    raise ValueError(f"no picture of {job['input']['of']}")


def number(job: Job) -> object:
    """Return a float that JSON has no word for."""
    return {"value": float(job["input"]["name"])}


def large(job: Job) -> object:
    """Return text of so many bytes."""
    return "x" * int(job["input"]["bytes"])


def unserialisable(job: Job) -> object:
    """Return what JSON cannot hold."""
    values: dict[str, object] = {"bytes": b"\x00", "set": {1}, "surrogate": "\ud800"}
    return {"value": values[job["input"]["kind"]]}


def talk(job: Job) -> object:
    """Write to both streams."""
    print("a line of output", flush=True)
    print("a line of errors", file=sys.stderr, flush=True)
    print("grün 漢字", flush=True)
    print('{"event": "drawn", "level": "info", "message": "in words of its own"}', flush=True)
    return "said"


async def wait(job: Job) -> object:
    """Stay until the gate is open."""
    say("waiting", job)
    while not is_open(job):
        await asyncio.sleep(PAUSE_S)
    return "waited"


def block(job: Job) -> object:
    """Do the same, and keep the event loop from everything else meanwhile."""
    say("blocking", job)
    while not is_open(job):
        time.sleep(PAUSE_S)
    say("unblocked", job)
    return "blocked"


def rest(job: Job) -> object:
    """Keep the event loop busy for so many seconds."""
    time.sleep(float(job["input"]["seconds"]))
    return "rested"


async def progress(job: Job) -> object:
    """Report steps until the gate is open."""
    for name in ("first", "second"):
        runpod.serverless.progress_update(job, {"step": name})
        while not is_open(job, f"-{name}"):
            await asyncio.sleep(PAUSE_S)
    return "done"


async def hold(job: Job) -> None:
    """Stay until the job is stopped."""
    say("holding", job)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        say("cancelled", job)
        raise


async def swallow(job: Job) -> object:
    """Answer in spite of being stopped."""
    say("holding", job)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        say("swallowed", job)
    return "late"


def leave(job: Job) -> object:
    """End the process as a program does."""
    raise SystemExit(3)


def die(job: Job) -> object:
    """End the process without a word."""
    say("dying", job)
    os._exit(9)


def die_once(job: Job) -> object:
    """Die of the first attempt alone."""
    return die(job) if not job.get("retries") else "survived"


async def end_after(job: Job) -> object:
    """Be told to end in the middle of a job, and finish it."""
    os.kill(os.getpid(), signal.SIGTERM)
    return await wait(job)


def refresh(job: Job) -> object:
    """Ask to be replaced."""
    return {"refresh_worker": True, "pid": os.getpid()}


def spawn(job: Job) -> object:
    """Leave a process of one's own behind."""
    child = subprocess.Popen(["sleep", "600"])  # noqa: S607 - whichever the PATH has
    return {"child": child.pid, "pid": os.getpid()}


def obstinate(job: Job) -> object:
    """Do not end when told to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return {"pid": os.getpid()}


def late_progress(job: Job) -> object:
    """Report progress after the result has been sent."""

    def report() -> None:
        while not is_open(job):
            time.sleep(PAUSE_S)
        runpod.serverless.progress_update(job, "late")
        say("reported", job)

    threading.Thread(target=report).start()
    return "result"


DEEDS: dict[str, Callable[[Job], object]] = {
    deed.__name__: deed
    for deed in (
        answer,
        block,
        die,
        die_once,
        echo,
        echo_async,
        end_after,
        fail,
        hold,
        large,
        late_progress,
        leave,
        number,
        obstinate,
        progress,
        refresh,
        rest,
        spawn,
        swallow,
        talk,
        unserialisable,
        wait,
    )
}


def handle(job: Job) -> object:
    """Do what the input names."""
    return DEEDS[job["input"]["do"]](job)


if __name__ == "__main__":
    runpod.serverless.start({"handler": handle})
