"""A worker that notes each job it begins, sleeps as long as the job says, and answers the job's number.

Called with how many jobs to hold at once and the file to note them in, a line each: number, job, worker.
"""

import asyncio
import os
import sys
from typing import Any

import runpod

concurrency = int(sys.argv[1])
# Lines of different processes do not mix: each is one write to a file that is only ever added to.
ledger = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)


async def handle(job: dict[str, Any]) -> int:
    """Note the job, and answer its number."""
    number: int = job["input"]["n"]
    os.write(ledger, f"{number} {job['id']} {os.environ['RUNPOD_POD_ID']}\n".encode())
    await asyncio.sleep(job["input"].get("sleep_s", 0))
    return number


def always(current: int) -> int:
    """Say how many jobs to hold, whatever it was before."""
    return concurrency


if __name__ == "__main__":
    runpod.serverless.start({"handler": handle, "concurrency_modifier": always})
