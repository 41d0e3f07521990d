"""One picture at a time: stops and deadlines between steps, failures as codes, one line of log per job."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

from worker.errors import Cancelled, WorkerError
from worker.finished import Finished, make_finished
from worker.gpu import GpuThread, describe_gpu_error
from worker.log import Log
from worker.renderer import Renderer, Rendering
from worker.request import GenerateRequest, WarmUp, parse_request
from worker.settings import Settings

T = TypeVar("T")

STALL_GRACE_S = 60.0
"""How long past its deadline a job may be silent until the GPU counts as hung.

The decoders, which come after the last step, report nothing.
"""


@dataclass(slots=True)
class _Job:
    """What a job's threads share."""

    id: str
    secrets: list[str]
    """Texts that no log may hold."""
    stop: threading.Event = field(default_factory=threading.Event)
    started_at_s: float | None = None
    phases_s: dict[str, float] = field(default_factory=dict)


class Service:
    """Takes a job's input to its result. Use it from one event loop.

    The event loop is never blocked: drawing happens in the GPU thread, one job after another; PNG and
    delivery in another thread, while the GPU draws the next job.

    Args:
        renderer: draws; called in `gpu` alone.
        settings: of these, `job_timeout_s`, counted from the start of a job's GPU work, and `png_level`.
        log: gets one line per job.
        gpu: the thread that `renderer` was loaded in.
        max_waiting: how many jobs may wait for the GPU; None for any number.
        stall_grace_s: see `STALL_GRACE_S`.
        clock: seconds that only grow; injected by tests.

    """

    def __init__(
        self,
        renderer: Renderer,
        settings: Settings,
        *,
        log: Log,
        gpu: GpuThread | None = None,
        max_waiting: int | None = None,
        stall_grace_s: float = STALL_GRACE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._renderer = renderer
        self._settings = settings
        self._log = log
        self._gpu = gpu or GpuThread()
        self._max_waiting = max_waiting
        self._stall_grace_s = stall_grace_s
        self._clock = clock
        self._undrawn: set[Future[Rendering]] = set()
        self.failure: WorkerError | None = None
        """Set once the process is not to be trusted any more; every later job is refused."""
        self.done = 0
        self.failed = 0

    @property
    def in_queue(self) -> int:
        """How many jobs wait for the GPU."""
        return sum(not future.running() and not future.done() for future in self._undrawn)

    async def generate(
        self,
        value: object,
        *,
        job_id: str,
        deliver: Callable[[Finished], T],
        on_progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> T | WarmUp:
        """Draw what `value` asks for and hand it over.

        Cancelling the task stops the job between two steps, or before it begins; the `CancelledError` comes
        out only when the job's thread is done with it.

        Args:
            value: the job's input as it came.
            job_id: for the log.
            deliver: called with the file in a thread of its own; what it returns is the result.
            on_progress: called with (steps done, steps in all) in the GPU thread after each step; must not
                block.

        Raises:
            WorkerError: whatever went wrong, in words for the caller.

        """
        start_s = self._clock()
        fields = value if isinstance(value, dict) else {}
        prompts = [fields.get(name) for name in ("prompt", "negative_prompt")]
        job = _Job(job_id, [text for text in prompts if isinstance(text, str)])
        code = "internal"
        try:
            request = parse_request(value, self._renderer.installed)
            if isinstance(request, WarmUp):
                code = "warm_up"
                return request
            rendering = await self._draw(job, request, on_progress)
            result = await self._off_loop(lambda: self._deliver(job, request, rendering, deliver))
            code = "ok"
            self.done += 1
            return result
        except asyncio.CancelledError:
            code = "cancelled"
            raise
        except Exception as error:
            told = self._told(job, error)
            code = told.code
            self.failed += 1
            if told is error:
                raise
            raise told from None
        finally:
            job.phases_s["total"] = self._clock() - start_s
            self._log.job(job_id, code, job.phases_s)

    async def _draw(
        self, job: _Job, request: GenerateRequest, on_progress: Callable[[int, int], None]
    ) -> Rendering:
        """Draw in the GPU thread when the job's turn comes."""
        self._refuse_when_failed()
        # One of the undrawn is at the GPU, the others wait.
        if self._max_waiting is not None and len(self._undrawn) > self._max_waiting:
            raise WorkerError("busy", f"{len(self._undrawn)} jobs are in hand already; try again later")
        submitted_at_s = self._clock()

        def draw() -> Rendering:
            job.started_at_s = self._clock()
            job.phases_s["queue"] = job.started_at_s - submitted_at_s
            deadline_s = job.started_at_s + self._settings.job_timeout_s

            def on_step(done: int, of: int) -> None:
                if job.stop.is_set():
                    raise Cancelled
                if self._clock() >= deadline_s:
                    raise WorkerError(
                        "timed_out",
                        f"the job took longer than {self._settings.job_timeout_s:g} s (step {done} of {of})",
                    )
                on_progress(done, of)

            self._refuse_when_failed()
            try:
                return self._renderer.render(request, on_step)
            except Exception as error:
                # Kept before the next job's turn comes: it must not touch a GPU that has failed.
                self._keep_failure(describe_gpu_error(error) or error)
                raise

        future = self._gpu.submit(draw)
        self._undrawn.add(future)
        try:
            rendering = await self._turn(job, future)
        finally:
            self._undrawn.discard(future)
        job.phases_s.update(rendering.timings_s)
        return rendering

    async def _turn(self, job: _Job, future: Future[Rendering]) -> Rendering:
        """Wait for the GPU thread's end of a job, at most until the GPU counts as hung."""
        limit_s = self._settings.job_timeout_s + self._stall_grace_s
        drawn = asyncio.wrap_future(future)
        stopped = False
        while not drawn.done():
            left_s = limit_s if job.started_at_s is None else job.started_at_s + limit_s - self._clock()
            if left_s <= 0:
                self._give_up()
                raise asyncio.CancelledError if stopped else self._stalled()
            try:
                await asyncio.wait({drawn}, timeout=left_s)
            except asyncio.CancelledError:
                stopped = True
                job.stop.set()
                future.cancel()
        if stopped:
            error = None if drawn.cancelled() else drawn.exception()
            if error is not None and not isinstance(error, Cancelled):
                # Nobody is told any more.
                self._log.failure(job.id, error, job.secrets)
            raise asyncio.CancelledError
        if drawn.cancelled():
            # Its turn will not come: the GPU hangs in the job before.
            self._refuse_when_failed()
        return drawn.result()

    async def _off_loop(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread; a cancellation comes out when the thread is done."""
        future = asyncio.get_running_loop().run_in_executor(None, work)
        stopped = False
        while not future.done():
            try:
                await asyncio.wait({future})
            except asyncio.CancelledError:
                stopped = True
        if stopped:
            future.exception()
            raise asyncio.CancelledError
        return future.result()

    def _deliver(
        self, job: _Job, request: GenerateRequest, rendering: Rendering, deliver: Callable[[Finished], T]
    ) -> T:
        start_s = self._clock()
        finished = make_finished(request, rendering, self._settings.png_level)
        encoded_s = self._clock()
        job.phases_s["png"] = encoded_s - start_s
        result = deliver(finished)
        job.phases_s["deliver"] = self._clock() - encoded_s
        return result

    def _told(self, job: _Job, error: Exception) -> WorkerError:
        """Return what the caller is told; what it is not told goes to the log."""
        if isinstance(error, WorkerError):
            return error
        self._log.failure(job.id, error, job.secrets)
        return describe_gpu_error(error) or WorkerError(
            "internal", f"the worker failed; its log has the details under job id {job.id}"
        )

    def _keep_failure(self, error: Exception) -> None:
        if isinstance(error, WorkerError) and error.refresh_worker and self.failure is None:
            self.failure = error

    def _refuse_when_failed(self) -> None:
        if self.failure is not None:
            raise WorkerError(
                "not_ready", "the worker restarts after a failure; send the job again", refresh_worker=True
            )

    def _stalled(self) -> WorkerError:
        return WorkerError(
            "timed_out",
            f"the GPU did not come back within {self._settings.job_timeout_s:g} s; the worker restarts",
            refresh_worker=True,
        )

    def _give_up(self) -> None:
        """Count the GPU as hung: no job that waits behind will get its turn."""
        self._keep_failure(self._stalled())
        for future in self._undrawn:
            future.cancel()
