"""The asyncio client of the RunPod SDK, in the scenario that the first argument names; prints JSON."""

import asyncio
import json
import sys

import aiohttp
from runpod.endpoint.asyncio import Endpoint, Job


async def until_running(job: Job) -> None:
    """Wait until a worker has the job."""
    while await job.status() != "IN_PROGRESS":
        await asyncio.sleep(0.05)


async def jobs(session: aiohttp.ClientSession) -> object:
    """Run, wait, fail, cancel, purge."""
    endpoint = Endpoint("local", session, api_key="local")
    queued = await endpoint.run({"do": "answer", "value": {"picture": 1}})
    output = await queued.output(timeout=60)
    failed = await endpoint.run({"do": "fail", "of": "nothing"})
    failed_output = await failed.output(timeout=60)
    held = await endpoint.run({"do": "hold"})
    await until_running(held)
    waiting = await endpoint.run({"do": "answer", "value": 0})
    busy = await endpoint.health()
    purged = await endpoint.purge_queue()
    cancelled = await held.cancel()
    headers = {"Authorization": "Bearer local"}
    try:
        unknown = await Job("local", "nope", session, headers).status()
    except KeyError as error:
        unknown = f"no {error}"
    return {
        "queued": [await queued.status(), output],
        "failed": [await failed.status(), failed_output],
        "busy": busy,
        "purged": [purged, await waiting.status()],
        "cancelled": [cancelled["status"], await held.status()],
        "unknown": unknown,
    }


async def stream(session: aiohttp.ClientSession) -> object:
    """Read streams to their end."""
    endpoint = Endpoint("local", session, api_key="local")
    good = await endpoint.run({"chunks": ["a", {"b": 1}, None]})
    bad = await endpoint.run({"chunks": ["a"], "error": "no more"})
    chunks = [[chunk async for chunk in job.stream()] for job in (good, bad)]
    return {"chunks": chunks, "states": [await good.status(), await bad.status()]}


async def main(scenario: str) -> None:
    """Run the scenario and print what came of it."""
    async with aiohttp.ClientSession() as session:
        print(json.dumps(await {"jobs": jobs, "stream": stream}[scenario](session)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
