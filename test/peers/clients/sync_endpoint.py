"""The blocking client of the RunPod SDK, in the scenario that the first argument names; prints JSON."""

import json
import sys
import time
from collections.abc import Callable

import requests
import runpod
from runpod.endpoint import Job

ENDPOINT = runpod.Endpoint("local", api_key="local")


def until_running(job: Job) -> None:
    """Wait until a worker has the job."""
    while job.status() != "IN_PROGRESS":
        time.sleep(0.05)


def error_of(call: Callable[[], object]) -> str:
    """Say what a call raises."""
    try:
        return f"no error, but {call()}"
    except (RuntimeError, requests.HTTPError) as error:
        return f"{type(error).__name__}: {error}"


def jobs() -> object:
    """Run, wait, fail, cancel, purge."""
    queued = ENDPOINT.run({"do": "answer", "value": {"picture": 1}})
    wrapped = ENDPOINT.run_sync({"input": {"do": "answer", "value": [1, None]}}, timeout=60)
    bare = ENDPOINT.run_sync({"do": "answer", "value": "text"}, timeout=60)
    output = queued.output(timeout=60)
    failed = ENDPOINT.run({"do": "fail", "of": "nothing"})
    failed_output = failed.output(timeout=60)
    held = ENDPOINT.run({"do": "hold"})
    until_running(held)
    waiting = ENDPOINT.run({"do": "answer", "value": 0})
    busy = ENDPOINT.health()
    purged = ENDPOINT.purge_queue()
    cancelled = held.cancel()
    return {
        "wrapped": wrapped,
        "bare": bare,
        "queued": [queued.status(), output],
        "failed": [failed.status(), failed_output],
        "busy": busy,
        "purged": [purged, waiting.status()],
        "cancelled": [cancelled["status"], held.status(), held.output()],
        "unknown": error_of(Job("local", "nope", ENDPOINT.rp_client).status),
        "wrong key": error_of(runpod.Endpoint("local", api_key="wrong").health),
    }


def stream() -> object:
    """Read streams to their end."""
    good = ENDPOINT.run({"chunks": ["a", {"b": 1}, None]})
    bad = ENDPOINT.run({"chunks": ["a"], "error": "no more"})
    chunks = [list(good.stream()), list(bad.stream())]
    return {"chunks": chunks, "states": [good.status(), bad.status()], "output": good.output()}


if __name__ == "__main__":
    print(json.dumps({"jobs": jobs, "stream": stream}[sys.argv[1]]()))
