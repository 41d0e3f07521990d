import asyncio
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from PIL import Image

from tests.fake_renderer import PATIENCE_S, FakeRenderer, Gate, job, settings
from worker.errors import WorkerError
from worker.finished import Finished
from worker.gpu import describe_gpu_error
from worker.log import Log
from worker.renderer import Renderer
from worker.request import GenerateRequest, WarmUp
from worker.service import Service

OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {"__module__": "torch"})
AcceleratorError = type("AcceleratorError", (RuntimeError,), {"__module__": "torch"})


class Lines(io.StringIO):
    """What the log wrote."""

    def records(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def codes(self) -> list[object]:
        return [record["code"] for record in self.records() if record["event"] == "job"]


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def make_service(
    renderer: Renderer | None = None,
    lines: Lines | None = None,
    *,
    max_waiting: int | None = None,
    stall_grace_s: float = 60,
    clock: Callable[[], float] = time.monotonic,
    **environment: str,
) -> Service:
    return Service(
        renderer or FakeRenderer(),
        settings(**environment),
        log=Log(stream=lines or Lines()),
        max_waiting=max_waiting,
        stall_grace_s=stall_grace_s,
        clock=clock,
    )


def generate(
    service: Service,
    value: object,
    job_id: str = "job-1",
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> Coroutine[None, None, Finished | WarmUp]:
    return service.generate(value, job_id=job_id, deliver=lambda finished: finished, on_progress=on_progress)


async def happened(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, PATIENCE_S)


def refused(service: Service, value: object) -> WorkerError:
    with pytest.raises(WorkerError) as caught:
        asyncio.run(generate(service, value))
    return caught.value


def test_a_job_becomes_a_png_with_its_record() -> None:
    finished = asyncio.run(generate(make_service(), job()))
    assert isinstance(finished, Finished)
    with Image.open(io.BytesIO(finished.png)) as image:
        assert (image.mode, image.size) == ("RGBA", (64, 128))
        assert "Seed: 7" in image.info["parameters"]
    assert json.loads(finished.info)["seed"] == 7
    assert finished.statistics.transparent == 0.5


def test_each_step_is_reported() -> None:
    seen: list[tuple[int, int]] = []
    asyncio.run(generate(make_service(), job(steps=3), on_progress=lambda done, of: seen.append((done, of))))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_warm_up_is_answered_without_drawing_even_while_a_job_is_drawn() -> None:
    async def run() -> None:
        gate = Gate()
        renderer = FakeRenderer(lambda request, step: gate.hold())
        service = make_service(renderer)
        drawing = asyncio.create_task(generate(service, job()))
        await happened(gate.reached)
        assert await generate(service, {"warm_up": True}) == WarmUp()
        assert not drawing.done()
        gate.open.set()
        await drawing
        assert renderer.drawn == ["a red apple"]

    asyncio.run(run())


def test_a_bad_input_reaches_neither_the_gpu_nor_the_failure_log() -> None:
    renderer, lines = FakeRenderer(), Lines()
    error = refused(make_service(renderer, lines), job(steps=0))
    assert (error.code, error.field) == ("out_of_range", "steps")
    assert renderer.drawn == []
    assert lines.codes() == ["out_of_range"]
    assert len(lines.records()) == 1


def test_jobs_share_one_thread_and_take_turns_in_their_order() -> None:
    async def run() -> None:
        at_once = 0
        most = 0

        def before_step(request: GenerateRequest, step: int) -> None:
            nonlocal at_once, most
            if step == 1:
                at_once += 1
                most = max(most, at_once)
            if step == request.steps:
                at_once -= 1

        renderer = FakeRenderer(before_step)
        service = make_service(renderer)
        await asyncio.gather(*(generate(service, job(str(number))) for number in range(5)))
        assert most == 1
        assert renderer.drawn == ["0", "1", "2", "3", "4"]
        assert len(renderer.threads) == 1
        assert threading.get_ident() not in renderer.threads

    asyncio.run(run())


def test_a_picture_is_delivered_while_the_gpu_draws_the_next() -> None:
    async def run() -> None:
        second_drawn = threading.Event()

        def before_step(request: GenerateRequest, step: int) -> None:
            if request.prompt == "second":
                second_drawn.set()

        def deliver(finished: Finished) -> str:
            assert second_drawn.wait(PATIENCE_S)
            return "delivered"

        service = make_service(FakeRenderer(before_step))
        first = service.generate(job("first"), job_id="1", deliver=deliver)
        assert (await asyncio.gather(first, generate(service, job("second"), "2")))[0] == "delivered"

    asyncio.run(run())


def test_a_stopped_job_ends_between_two_steps_and_the_next_one_runs() -> None:
    async def run() -> None:
        gate, lines = Gate(), Lines()
        seen: list[int] = []

        def before_step(request: GenerateRequest, step: int) -> None:
            if request.prompt == "stopped" and step == 2:
                gate.hold()

        service = make_service(FakeRenderer(before_step), lines)
        stopped = asyncio.create_task(
            generate(service, job("stopped", steps=50), on_progress=lambda done, of: seen.append(done))
        )
        await happened(gate.reached)
        stopped.cancel()
        # The thread is still in its step: the task must not be done before it.
        await asyncio.sleep(0)
        stopped.cancel()
        await asyncio.sleep(0)
        assert not stopped.done()
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await stopped
        assert seen == [1]
        assert isinstance(await generate(service, job("next")), Finished)
        assert lines.codes() == ["cancelled", "ok"]
        assert (service.done, service.failed) == (1, 0)

    asyncio.run(run())


def test_a_job_that_is_stopped_before_its_turn_is_never_drawn() -> None:
    async def run() -> None:
        gate = Gate()
        renderer = FakeRenderer(lambda request, step: gate.hold())
        service = make_service(renderer)
        first = asyncio.create_task(generate(service, job("first")))
        await happened(gate.reached)
        waiting = asyncio.create_task(generate(service, job("waiting")))
        await asyncio.sleep(0)
        assert service.in_queue == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert service.in_queue == 0
        gate.open.set()
        await first
        await generate(service, job("last"))
        assert renderer.drawn == ["first", "last"]

    asyncio.run(run())


def test_a_job_stopped_during_delivery_waits_for_the_delivery() -> None:
    async def run() -> None:
        gate = Gate()
        service = make_service()
        delivering = asyncio.create_task(
            service.generate(job(), job_id="1", deliver=lambda finished: gate.hold())
        )
        await happened(gate.reached)
        delivering.cancel()
        await asyncio.sleep(0)
        assert not delivering.done()
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await delivering

    asyncio.run(run())


def test_a_job_past_its_deadline_ends_at_the_next_step_and_the_worker_goes_on() -> None:
    clock = Clock()

    def before_step(request: GenerateRequest, step: int) -> None:
        if request.prompt == "slow" and step == 2:
            clock.now_s += 30

    service = make_service(FakeRenderer(before_step), clock=clock, JOB_TIMEOUT_S="30")
    error = refused(service, job("slow"))
    assert (error.code, error.http_status, error.refresh_worker) == ("timed_out", 504, False)
    assert "30 s (step 2 of 3)" in error.message
    assert isinstance(asyncio.run(generate(service, job())), Finished)


def test_the_deadline_counts_from_the_start_of_a_jobs_own_work() -> None:
    async def run() -> None:
        clock = Clock()
        second_waits = threading.Event()

        def before_step(request: GenerateRequest, step: int) -> None:
            if step == 1:
                assert second_waits.wait(PATIENCE_S)
                clock.now_s += 29

        service = make_service(FakeRenderer(before_step), clock=clock, JOB_TIMEOUT_S="30")
        jobs = [asyncio.create_task(generate(service, job(str(number)))) for number in range(2)]
        await asyncio.sleep(0)
        second_waits.set()
        assert all(isinstance(result, Finished) for result in await asyncio.gather(*jobs))

    asyncio.run(run())


def test_a_step_that_never_returns_is_given_up_with_all_jobs_behind_it() -> None:
    async def run() -> None:
        clock, gate = Clock(), Gate()

        def before_step(request: GenerateRequest, step: int) -> None:
            clock.now_s += 91
            gate.hold()

        service = make_service(FakeRenderer(before_step), clock=clock, stall_grace_s=60, JOB_TIMEOUT_S="30")
        # Wakes the one that waits, as the real clock would after 90 s.
        hung = asyncio.create_task(generate(service, job("hung")))
        behind = asyncio.create_task(generate(service, job("behind")))
        await happened(gate.reached)
        hung.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hung
        # At once: the gate holds the GPU for longer than this.
        with pytest.raises(WorkerError) as caught:
            await asyncio.wait_for(behind, PATIENCE_S / 2)
        assert caught.value.code == "not_ready"
        assert service.failure is not None
        assert service.failure.code == "timed_out"
        gate.open.set()

    asyncio.run(run())


def test_a_step_that_never_returns_is_told_after_the_grace() -> None:
    async def run() -> None:
        gate = Gate()
        service = make_service(
            FakeRenderer(lambda request, step: gate.hold()), stall_grace_s=-0.99, JOB_TIMEOUT_S="1"
        )
        with pytest.raises(WorkerError, match="did not come back") as caught:
            await generate(service, job())
        assert (caught.value.code, caught.value.refresh_worker) == ("timed_out", True)
        gate.open.set()

    asyncio.run(run())


def raising(error: Exception) -> FakeRenderer:
    def before_step(request: GenerateRequest, step: int) -> None:
        raise error

    return FakeRenderer(before_step)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "gpu_out_of_memory"),
        (RuntimeError("CUDA error: out of memory"), "gpu_out_of_memory"),
        (AcceleratorError("CUDA error: an illegal memory access was encountered"), "gpu_failed"),
        (RuntimeError("CUDA error: device-side assert triggered"), "gpu_failed"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "gpu_failed"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate`"), "gpu_failed"),
        (WorkerError("gpu_failed", "told by the renderer", refresh_worker=True), "gpu_failed"),
    ],
    ids=str,
)
def test_after_a_gpu_failure_the_worker_asks_for_replacement_and_draws_no_more(
    error: Exception, code: str
) -> None:
    renderer = raising(error)
    service = make_service(renderer)
    told = refused(service, job())
    assert (told.code, told.refresh_worker) == (code, True)
    assert service.failure is not None
    following = refused(service, job("following"))
    assert (following.code, following.http_status, following.refresh_worker) == ("not_ready", 503, True)
    assert renderer.drawn == ["a red apple"]


def test_a_job_that_waited_behind_a_gpu_failure_is_not_drawn() -> None:
    async def run() -> None:
        gate = Gate()

        def before_step(request: GenerateRequest, step: int) -> None:
            gate.hold()
            raise AcceleratorError("CUDA error: unspecified launch failure")

        renderer = FakeRenderer(before_step)
        service = make_service(renderer)
        jobs = [asyncio.create_task(generate(service, job(str(number)))) for number in range(2)]
        await happened(gate.reached)
        gate.open.set()
        results = await asyncio.gather(*jobs, return_exceptions=True)
        assert [error.code for error in results if isinstance(error, WorkerError)] == [
            "gpu_failed",
            "not_ready",
        ]
        assert renderer.drawn == ["0"]

    asyncio.run(run())


@pytest.mark.parametrize(
    "error",
    [
        ValueError("CUDA error"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        RuntimeError("DefaultCPUAllocator: can't allocate 8 bytes: out of memory"),
        MemoryError("out of memory"),
        type("OutOfMemoryError", (RuntimeError,), {"__module__": "database"})("rows out of memory"),
    ],
    ids=str,
)
def test_other_failures_are_not_the_gpus(error: Exception) -> None:
    assert describe_gpu_error(error) is None


def test_an_unexpected_failure_tells_the_caller_nothing_and_the_log_all_but_the_prompt() -> None:
    lines = Lines()
    prompt = 'a secret plan, it\'s \n"mine"'
    service = make_service(raising(KeyError(f"tensor of {prompt} at /srv/secret.py")), lines)
    error = refused(service, job(prompt, negative_prompt="ugly plan"))
    assert error.code == "internal"
    assert error.message == "the worker failed; its log has the details under job id job-1"
    assert error.__cause__ is None
    assert error.__suppress_context__
    written = lines.getvalue()
    assert "Traceback" in written
    assert "/srv/secret.py" in written
    assert "secret plan" not in written
    assert [record["event"] for record in lines.records()] == ["job_failure", "job"]
    assert lines.codes() == ["internal"]
    assert service.failure is None


def test_a_failure_of_a_job_that_nobody_waits_for_is_in_the_log() -> None:
    async def run() -> None:
        gate, lines = Gate(), Lines()

        def before_step(request: GenerateRequest, step: int) -> None:
            gate.hold()
            raise AcceleratorError(f"CUDA error in {request.prompt}")

        service = make_service(FakeRenderer(before_step), lines)
        stopped = asyncio.create_task(generate(service, job("a secret plan")))
        await happened(gate.reached)
        stopped.cancel()
        await asyncio.sleep(0)
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await stopped
        assert [record["event"] for record in lines.records()] == ["job_failure", "job"]
        assert "secret plan" not in lines.getvalue()
        assert service.failure is not None

    asyncio.run(run())


def test_a_failure_in_delivery_is_a_failure_of_the_job() -> None:
    def deliver(finished: Finished) -> None:
        raise WorkerError("result_too_large", "too large")

    service = make_service()
    with pytest.raises(WorkerError, match="too large"):
        asyncio.run(service.generate(job(), job_id="1", deliver=deliver))
    assert (service.done, service.failed) == (0, 1)


@pytest.mark.parametrize(("max_waiting", "taken"), [(0, 1), (1, 2), (2, 3), (None, 4)])
def test_no_more_than_the_allowed_number_wait_for_the_gpu(max_waiting: int | None, taken: int) -> None:
    async def run() -> None:
        gate = Gate()
        service = make_service(FakeRenderer(lambda request, step: gate.hold()), max_waiting=max_waiting)
        first = asyncio.create_task(generate(service, job("0")))
        await happened(gate.reached)
        others = [asyncio.create_task(generate(service, job(str(number)))) for number in (1, 2, 3)]
        await asyncio.sleep(0)
        gate.open.set()
        results = await asyncio.gather(first, *others, return_exceptions=True)
        codes = [result.code if isinstance(result, WorkerError) else "ok" for result in results]
        assert codes == ["ok"] * taken + ["busy"] * (4 - taken)

    asyncio.run(run())


def test_the_log_has_one_line_per_job_with_milliseconds_and_no_prompt() -> None:
    lines = Lines()
    asyncio.run(generate(make_service(FakeRenderer(), lines), job("a secret plan"), "job-9"))
    (record,) = lines.records()
    assert record["event"] == "job"
    assert (record["id"], record["code"]) == ("job-9", "ok")
    milliseconds = record["ms"]
    assert isinstance(milliseconds, dict)
    assert milliseconds["steps"] == 500
    assert set(milliseconds) == {"queue", "text", "steps", "png", "deliver", "total"}
    assert "secret" not in lines.getvalue()


@pytest.mark.parametrize(
    ("level", "events"), [("info", ["ready", "job_failure"]), ("error", ["job_failure"])]
)
def test_lines_below_the_level_are_left_out(level: str, events: list[str]) -> None:
    lines = Lines()
    log = Log(level, lines)
    log.event("ready")
    log.failure("1", ValueError("x"))
    assert [record["event"] for record in lines.records()] == events


def test_a_lone_surrogate_can_be_logged() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    Log(stream=stream).event("odd", text="\ud800")
    stream.seek(0)
    assert json.loads(stream.read())["text"] == "\ud800"


def test_the_service_and_the_handler_import_without_torch_and_the_sdk() -> None:
    program = (
        "import sys, handler, worker.service, worker.queue_mode;"
        "print(sorted({'torch', 'runpod', 'fastapi', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert done.stdout == "[]\n"
