"""Reading requests of the HTTP mode, and noticing that the client is gone."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Final, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from worker.errors import WorkerError

T = TypeVar("T")

MAX_BODY_BYTES: Final = 1 << 20
"""Far more than the longest prompts take; no picture is ever sent here."""


async def read_body(request: Request) -> bytes:
    """Return the request's body.

    Raises:
        HTTPException: 413, as soon as more than `MAX_BODY_BYTES` have come; 400, when the client hangs up.

    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise HTTPException(413, f"the body must have at most {MAX_BODY_BYTES} bytes")
    except ClientDisconnect:
        raise HTTPException(400, "the body ended early") from None
    return bytes(body)


def parse_body(body: bytes) -> object:
    """Return the JSON value of a body.

    Raises:
        WorkerError: `bad_input`.

    """
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "not readable"
        raise WorkerError("bad_input", f"the body must be JSON: {reason}") from None
    return value


def names_encoding(value: object) -> bool:
    """Tell whether an input says itself how the picture should come."""
    response = value.get("response") if isinstance(value, dict) else None
    return isinstance(response, dict) and response.get("encoding") is not None


async def unless_gone(request: Request, job: Coroutine[None, None, T]) -> T | None:
    """Return the job's result; stop the job and return None when the client hangs up first."""
    task = asyncio.create_task(job)
    gone = asyncio.create_task(hang_up(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    return None if task.cancelled() else task.result()


async def hang_up(request: Request) -> None:
    """Return when the client has closed the connection; the body is read already."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
