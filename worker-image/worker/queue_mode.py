"""Jobs of the RunPod SDK: the handler that it calls, and progress reports. The SDK is not imported here."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from worker.errors import WorkerError
from worker.finished import Finished
from worker.output import make_result
from worker.request import WarmUp
from worker.service import Service
from worker.settings import Settings

Job = dict[str, Any]
"""A job as the RunPod SDK hands it over: JSON with `id` and `input`."""

SendProgress = Callable[[Job, dict[str, int]], None]


def throttled(
    send: Callable[[dict[str, int]], None], interval_s: float, clock: Callable[[], float] = time.monotonic
) -> Callable[[int, int], None]:
    """Return what reports steps: the first at once, then one an interval at most.

    The last step is never sent: each report has a connection of its own, and the result, which follows, may
    overtake it.
    """
    next_s = clock()

    def report(done: int, of: int) -> None:
        nonlocal next_s
        now_s = clock()
        if done < of and now_s >= next_s:
            next_s = now_s + interval_s
            send({"step": done, "steps": of})

    return report


def make_handler(
    service: Service, settings: Settings, config: dict[str, Any], send_progress: SendProgress | None
) -> Callable[[Job], Awaitable[dict[str, object]]]:
    """Return the function that the SDK calls with each job.

    Args:
        service: takes a job's input to its result.
        settings: of these, the limit on results and the interval of progress reports.
        config: the SDK's own. `refresh_worker` is set in it after a failure that the process cannot recover
            from: the SDK then reports the worker for replacement and ends it once the result is sent.
        send_progress: starts sending a report and returns at once; None where nobody listens.

    """

    def deliver(finished: Finished) -> dict[str, object]:
        return make_result(
            finished.request,
            finished.png,
            finished.info,
            finished.statistics,
            finished.filename,
            settings.max_result_bytes,
        )

    async def handle(job: Job) -> dict[str, object]:
        def send(progress: dict[str, int]) -> None:
            if send_progress is not None:
                send_progress(job, progress)

        try:
            result = await service.generate(
                job.get("input"),
                job_id=job["id"],
                deliver=deliver,
                on_progress=throttled(send, settings.progress_interval_s),
            )
        except asyncio.CancelledError:
            if service.failure is None:
                raise
            # The SDK ends the worker after a job that returns; the service discards this late answer.
            config["refresh_worker"] = True
            return service.failure.to_result()
        except WorkerError as error:
            if error.refresh_worker:
                config["refresh_worker"] = True
            return error.to_result()
        return {"status": "success", "warm": True} if isinstance(result, WarmUp) else result

    return handle
