"""A worker whose handler is a generator: `sync` or `async`; `aggregate` has all chunks in the output too."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import runpod

Job = dict[str, Any]

PAUSE_S = 0.01


def is_open(job: Job) -> bool:
    """Whether the test lets the job go on."""
    gate = job["input"].get("gate")
    return gate is None or Path(gate).exists()


def generate(job: Job) -> Generator[object, None, None]:
    """Yield the input's chunks, the last of them once the gate is open; then fail if asked to."""
    *first, last = job["input"]["chunks"]
    yield from first
    while not is_open(job):
        time.sleep(PAUSE_S)
    yield last
    count = 0
    while job["input"].get("endless"):
        time.sleep(PAUSE_S)
        count += 1
        yield count
    if "error" in job["input"]:
        raise ValueError(job["input"]["error"])


async def generate_async(job: Job) -> AsyncGenerator[object, None]:
    """Do the same, in turns with everything else."""
    *first, last = job["input"]["chunks"]
    for chunk in first:
        yield chunk
    while not is_open(job):
        await asyncio.sleep(PAUSE_S)
    yield last
    count = 0
    while job["input"].get("endless"):
        await asyncio.sleep(PAUSE_S)
        count += 1
        yield count
    if "error" in job["input"]:
        raise ValueError(job["input"]["error"])


if __name__ == "__main__":
    handler = generate_async if "async" in sys.argv else generate
    runpod.serverless.start({"handler": handler, "return_aggregate_stream": "aggregate" in sys.argv})
