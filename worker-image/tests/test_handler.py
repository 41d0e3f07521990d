import asyncio
import base64
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.fake_renderer import PATIENCE_S, FakeRenderer, Gate, job, settings
from worker.errors import WorkerError
from worker.log import Log
from worker.queue_mode import Job, make_handler, throttled
from worker.request import GenerateRequest
from worker.service import Service

ROOT = Path(__file__).parent.parent


def handled(
    value: object,
    renderer: FakeRenderer | None = None,
    config: dict[str, Any] | None = None,
    sent: list[tuple[Job, dict[str, int]]] | None = None,
    **environment: str,
) -> dict[str, object]:
    """What the SDK gets back for an input."""
    chosen = settings(PROGRESS_INTERVAL_S="0", **environment)
    service = Service(renderer or FakeRenderer(), chosen, log=Log(stream=io.StringIO()))

    def send(job: Job, progress: dict[str, int]) -> None:
        if sent is not None:
            sent.append((job, progress))

    handler = make_handler(service, chosen, {} if config is None else config, None if sent is None else send)

    async def run() -> dict[str, object]:
        return await handler({"id": "job-1", "input": value})

    return asyncio.run(run())


def test_a_picture_comes_as_a_data_url_with_a_name_a_record_and_its_alpha() -> None:
    result = handled(job())
    assert result["status"] == "success"
    url = result["url"]
    assert isinstance(url, str)
    assert url.startswith("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2], validate=True))) as image:
        assert (image.mode, image.size) == ("RGBA", (64, 128))
    assert result["image_base64"] == url.partition(",")[2]
    assert re.fullmatch(r"alpha_[0-9]+_[A-Za-z0-9_-]{22}\.png", str(result["filename"]))
    assert json.loads(str(result["info"]))["seed"] == result["seed"] == 7


@pytest.mark.parametrize(
    ("encoding", "present"),
    [("both", {"url", "image_base64"}), ("url", {"url"}), ("base64", {"image_base64"})],
)
def test_the_picture_comes_as_often_as_asked(encoding: str, present: set[str]) -> None:
    result = handled(job(response={"encoding": encoding}))
    assert set(result) & {"url", "image_base64"} == present


@pytest.mark.parametrize(
    ("value", "code", "field"),
    [
        (None, "bad_input", "input"),
        ([], "bad_input", "input"),
        ({}, "missing_field", "prompt"),
        (job(width=1000), "bad_size", "width"),
    ],
    ids=str,
)
def test_a_refused_input_has_the_shape_that_the_sdk_reports_as_failed(
    value: object, code: str, field: str
) -> None:
    result = handled(value)
    error = result.pop("error")
    assert isinstance(error, str)
    assert error
    assert result == {"status": "error", "code": code, "field": field}


def test_a_job_without_input_is_refused_like_one_with_null() -> None:
    chosen = settings()
    service = Service(FakeRenderer(), chosen, log=Log(stream=io.StringIO()))
    handler = make_handler(service, chosen, {}, None)

    async def run() -> dict[str, object]:
        return await handler({"id": "job-1"})

    assert asyncio.run(run())["code"] == "bad_input"


def test_a_result_beyond_the_limit_is_refused_instead_of_lost() -> None:
    assert handled(job(width=256, height=256), MAX_RESULT_BYTES="1024")["code"] == "result_too_large"


def test_a_warm_up_is_a_success() -> None:
    assert handled({"warm_up": True}) == {"status": "success", "warm": True}


def test_steps_are_reported_but_for_the_last() -> None:
    sent: list[tuple[Job, dict[str, int]]] = []
    handled(job(steps=3), sent=sent)
    assert [progress for _, progress in sent] == [{"step": 1, "steps": 3}, {"step": 2, "steps": 3}]
    assert {job["id"] for job, _ in sent} == {"job-1"}


def test_a_report_is_sent_at_once_and_then_one_an_interval() -> None:
    sent: list[int] = []
    now_s = 0.0
    report = throttled(lambda progress: sent.append(progress["step"]), 1.0, lambda: now_s)
    for step, at_s in enumerate([5.0, 5.5, 5.999, 6.0, 6.1, 7.5, 8.0, 8.5], start=1):
        now_s = at_s
        report(step, 9)
    assert sent == [1, 4, 6, 8]


def test_after_a_gpu_failure_the_sdk_is_told_to_replace_the_worker() -> None:
    def before_step(request: GenerateRequest, step: int) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    config: dict[str, Any] = {}
    result = handled(job(), FakeRenderer(before_step), config)
    assert (result["code"], result["refresh_worker"]) == ("gpu_failed", True)
    assert config == {"refresh_worker": True}


def test_after_a_failure_of_the_job_alone_the_worker_stays() -> None:
    def before_step(request: GenerateRequest, step: int) -> None:
        raise WorkerError("nan_latents", "try another seed")

    config: dict[str, Any] = {}
    result = handled(job(), FakeRenderer(before_step), config)
    assert result == {"status": "error", "error": "try another seed", "code": "nan_latents"}
    assert config == {}


def stopped_while_drawn(error: Exception | None, config: dict[str, Any]) -> dict[str, object]:
    """What the SDK gets back for a job that it cancels in a step, which then fails or goes on."""
    gate = Gate()

    def before_step(request: GenerateRequest, step: int) -> None:
        gate.hold()
        if error is not None:
            raise error

    chosen = settings()
    service = Service(FakeRenderer(before_step), chosen, log=Log(stream=io.StringIO()))
    handler = make_handler(service, chosen, config, None)

    async def run() -> dict[str, object]:
        handling = asyncio.ensure_future(handler({"id": "job-1", "input": job()}))
        assert await asyncio.to_thread(gate.reached.wait, PATIENCE_S)
        handling.cancel()
        await asyncio.sleep(0)
        gate.open.set()
        return await handling

    return asyncio.run(run())


def test_after_a_gpu_failure_in_a_cancelled_job_the_worker_is_replaced_all_the_same() -> None:
    config: dict[str, Any] = {}
    error = RuntimeError("CUDA error: an illegal memory access was encountered")
    result = stopped_while_drawn(error, config)
    assert config == {"refresh_worker": True}
    # The SDK ends a worker after a job that returns, not after one that raises.
    assert (result["code"], result["refresh_worker"]) == ("gpu_failed", True)


@pytest.mark.parametrize("error", [None, WorkerError("nan_latents", "try another seed")], ids=str)
def test_after_any_other_end_of_a_cancelled_job_the_worker_stays(error: WorkerError | None) -> None:
    config: dict[str, Any] = {}
    with pytest.raises(asyncio.CancelledError):
        stopped_while_drawn(error, config)
    assert config == {}


def run_python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_importing_the_entry_point_does_nothing() -> None:
    program = """
import signal, threading
import handler
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
assert threading.active_count() == 1
"""
    done = run_python(program, MODE="nonsense")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("environment", "code", "words"),
    [
        ({"MODE": "nonsense"}, "bad_settings", "MODE must be one of queue, http"),
        ({"MODE": "http", "PORT": "x"}, "bad_settings", "PORT must be"),
        ({"MODE": "http", "PORT_HEALTH": "80"}, "bad_settings", "PORT_HEALTH must be 8000, as PORT"),
        ({"MODE": "http", "STORE_DIR": "/dev/null/store"}, "bad_settings", "STORE_DIR cannot be used"),
        ({"MODE": "http", "HOST": "192.0.2.1", "STORE_DIR": "store"}, "bad_settings", "HOST and PORT"),
    ],
    ids=str,
)
def test_a_start_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, environment: dict[str, str], code: str, words: str
) -> None:
    if environment.get("STORE_DIR") == "store":
        environment = {**environment, "STORE_DIR": str(tmp_path / "store")}
    done = run_python("import sys, handler; sys.exit(handler.main())", **environment)
    assert done.returncode == 1
    record = json.loads(done.stderr)
    assert (record["event"], record["level"], record["code"]) == ("start_refused", "error", code)
    assert words in record["message"]


@pytest.mark.parametrize("mode", ["queue", "http"])
def test_weights_that_are_refused_end_the_process_in_one_line(tmp_path: Path, mode: str) -> None:
    program = """
import sys
import handler
from worker.errors import WorkerError

def load(settings):
    raise WorkerError("weights_invalid", "unet.safetensors: expected 10 bytes, found 9")

sys.exit(handler.main(load))
"""
    done = run_python(program, MODE=mode, HOST="127.0.0.1", PORT="0", STORE_DIR=str(tmp_path / "store"))
    assert done.returncode == 1
    record = json.loads(done.stderr)
    assert (record["code"], record["message"]) == (
        "weights_invalid",
        "unet.safetensors: expected 10 bytes, found 9",
    )
