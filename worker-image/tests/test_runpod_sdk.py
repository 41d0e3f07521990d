"""The worker as a process under the true RunPod SDK, against the control plane of `control_plane.py`."""

import base64
import io
import json
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.control_plane import ControlPlane, running_control_plane
from tests.worker_process import FAKE_WORKER, PATIENCE_S, ROOT, WorkerProcess, running_worker
from worker.request import GenerateRequest, Installed, parse_request

SMALL = {"prompt": "x", "width": 64, "height": 64, "steps": 2}
LONG = {"prompt": "a long job", "width": 256, "height": 256, "steps": 100}


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with running_control_plane() as plane:
        yield plane


def tiny(directory: Path) -> dict[str, str]:
    """The environment of a worker with the tiny model."""
    return {"MODEL_DIR": str(directory), "WARM_UP_SIZE": "64", "PROGRESS_INTERVAL_S": "0.1"}


def end_idle(worker: WorkerProcess, plane: ControlPlane) -> int:
    plane.release()
    worker.terminate()
    return worker.exit_status()


@pytest.fixture(scope="class")
def shared_plane() -> Iterator[ControlPlane]:
    with running_control_plane() as plane:
        yield plane


@pytest.fixture(scope="class")
def worker(
    shared_plane: ControlPlane, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    environment = {**tiny(tiny_model), **shared_plane.environment}
    with running_worker(tmp_path_factory.mktemp("home"), environment) as worker:
        yield worker


class TestQueueWorker:
    """One process with the tiny model, from its start to its end."""

    def test_no_job_is_taken_before_the_worker_is_ready(
        self, worker: WorkerProcess, shared_plane: ControlPlane
    ) -> None:
        worker.wait_for_event("ready")
        shared_plane.wait_for(lambda: shared_plane.polls > 0, "a poll for jobs")
        assert shared_plane.first_poll_s > worker.wait_for_event("ready")["time_s"]

    def test_a_job_reports_its_steps_and_delivers_a_transparent_png(
        self, worker: WorkerProcess, shared_plane: ControlPlane
    ) -> None:
        shared_plane.give(
            "picture", {"prompt": "a quiet secret", "width": 128, "height": 192, "steps": 20, "seed": 7}
        )
        body = shared_plane.result("picture")
        assert set(body) == {"output"}
        output = body["output"]
        assert (output["status"], output["seed"]) == ("success", 7)
        assert re.fullmatch(r"alpha_[0-9]+_[A-Za-z0-9_-]{22}\.png", output["filename"])
        start = "data:image/png;base64,"
        assert output["url"].startswith(start)
        png = base64.b64decode(output["url"].removeprefix(start), validate=True)
        with Image.open(io.BytesIO(png)) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (128, 192))
            assert len(image.getchannel("A").getcolors() or []) > 1
        assert json.loads(output["info"])["steps"] == 20
        shared_plane.wait_for(lambda: bool(shared_plane.progress_of("picture")), "progress")
        assert shared_plane.progress_of("picture")[0] == {"step": 1, "steps": 20}

    def test_the_log_has_one_line_for_the_job_and_no_prompt(
        self, worker: WorkerProcess, shared_plane: ControlPlane
    ) -> None:
        (record,) = worker.jobs("picture")
        assert record["code"] == "ok"
        assert {"queue", "text", "steps", "vae", "alpha", "png", "deliver", "total"} <= set(record["ms"])
        assert "quiet secret" not in worker.output()

    @pytest.mark.parametrize(
        ("job_id", "value", "code", "field"),
        [
            ("size", {"prompt": "x", "width": 1000}, "bad_size", "width"),
            ("null", None, "bad_input", "input"),
            ("list", [1], "bad_input", "input"),
        ],
    )
    def test_a_bad_input_is_a_failed_job_with_code_and_field(
        self,
        worker: WorkerProcess,
        shared_plane: ControlPlane,
        job_id: str,
        value: object,
        code: str,
        field: str,
    ) -> None:
        shared_plane.give(job_id, value)
        body = shared_plane.result(job_id)
        assert set(body) == {"error", "output"}
        assert isinstance(body["error"], str)
        assert field in body["error"]
        assert "Traceback" not in body["error"]
        assert body["output"] == {"status": "error", "code": code, "field": field}

    def test_a_warm_up_is_answered(self, worker: WorkerProcess, shared_plane: ControlPlane) -> None:
        shared_plane.give("warm", {"warm_up": True})
        assert shared_plane.result("warm") == {"output": {"status": "success", "warm": True}}

    def test_a_stopped_job_ends_between_steps_without_a_result_and_the_next_one_runs(
        self, worker: WorkerProcess, shared_plane: ControlPlane
    ) -> None:
        shared_plane.give("stopped", LONG)
        shared_plane.wait_for(lambda: bool(shared_plane.progress_of("stopped")), "its first step")
        shared_plane.stop("stopped")
        shared_plane.give("next", SMALL)
        assert shared_plane.result("next")["output"]["status"] == "success"
        assert "stopped" not in shared_plane.done
        (record,) = worker.jobs("stopped")
        assert record["code"] == "cancelled"
        assert max(output["step"] for output in shared_plane.progress_of("stopped")) < LONG["steps"]

    def test_the_platform_hears_which_job_is_in_hand_while_it_is_drawn(
        self, worker: WorkerProcess, shared_plane: ControlPlane
    ) -> None:
        shared_plane.give("pinged", LONG)
        shared_plane.wait_for(lambda: ["pinged"] in shared_plane.pings, "a ping during the job")
        # The SDK drops a stop for a job that it has taken and not begun.
        shared_plane.wait_for(lambda: bool(shared_plane.progress_of("pinged")), "its first step")
        assert "pinged" not in shared_plane.done
        shared_plane.stop("pinged")

    def test_a_worker_that_is_told_to_end_finishes_its_job_first(
        self, worker: WorkerProcess, shared_plane: ControlPlane
    ) -> None:
        shared_plane.give("last", {"prompt": "x", "width": 128, "height": 128, "steps": 100})
        shared_plane.wait_for(lambda: bool(shared_plane.progress_of("last")), "its first step")
        assert "last" not in shared_plane.done
        assert end_idle(worker, shared_plane) == 0
        assert shared_plane.result("last")["output"]["status"] == "success"
        assert shared_plane.unauthorised == []
        assert "Traceback" not in worker.output()


class LocalRuns:
    """The SDK's own ways of running a job without a platform; started together, as each mostly imports."""

    def __init__(self, start: Callable[..., WorkerProcess], directory: Path) -> None:
        value = json.dumps({"input": SMALL})
        self.command_line = start(("handler.py", "--test_input", value))
        (directory / "test_input.json").write_text(value)
        self.file = start((str(ROOT / "handler.py"),), directory=directory)
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port = free.getsockname()[1]
        api = ("--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", str(self.port))
        self.server = start(("handler.py", *api))


@pytest.fixture(scope="class")
def local_runs(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRuns]:
    directory = tmp_path_factory.mktemp("local")
    with ExitStack() as stack:

        def start(arguments: Sequence[str], directory: Path = ROOT) -> WorkerProcess:
            return stack.enter_context(running_worker(directory, tiny(tiny_model), arguments, directory))

        yield LocalRuns(start, directory)


class TestWithoutAPlatform:
    """Three processes with the tiny model."""

    def test_an_input_on_the_command_line_is_drawn(self, local_runs: LocalRuns) -> None:
        worker = local_runs.command_line
        assert worker.exit_status() == 0, worker.output()
        assert "'status': 'success'" in worker.output()
        assert "data:image/png;base64," in worker.output()

    def test_a_test_input_in_the_directory_is_drawn(self, local_runs: LocalRuns) -> None:
        worker = local_runs.file
        assert worker.exit_status() == 0, worker.output()
        assert "Using test_input.json as job input." in worker.output()
        assert worker.jobs("local_test")[0]["code"] == "ok"

    def test_the_sdks_local_server_draws(self, local_runs: LocalRuns) -> None:
        worker = local_runs.server
        worker.wait_for_line("Uvicorn running on")
        with httpx.Client(base_url=f"http://127.0.0.1:{local_runs.port}", timeout=PATIENCE_S) as client:
            good = client.post("/runsync", json={"input": SMALL}).json()
            assert good["status"] == "COMPLETED"
            assert good["output"]["url"].startswith("data:image/png;base64,")
            bad = client.post("/runsync", json={"input": {"prompt": ""}}).json()
            assert bad["status"] == "FAILED"
            assert "prompt" in bad["error"]
        worker.terminate()
        assert worker.exit_status() == 0

    def test_the_test_input_of_this_directory_is_a_job(self) -> None:
        job = json.loads((ROOT / "test_input.json").read_text())
        installed = Installed(checkpoint="any", checkpoint_aliases=(), loras=())
        assert isinstance(parse_request(job["input"], installed), GenerateRequest)


class TestSignalsAndFailures:
    """Processes without torch, so that each costs the SDK's import alone."""

    def test_a_worker_without_a_job_ends_at_sigterm(self, plane: ControlPlane, tmp_path: Path) -> None:
        with running_worker(tmp_path, plane.environment, ("-c", FAKE_WORKER)) as worker:
            plane.wait_for(lambda: plane.polls > 0, "a poll for jobs")
            assert end_idle(worker, plane) == 0
            assert "Traceback" not in worker.output()

    def test_a_worker_that_loads_ends_at_sigterm_at_once(self, plane: ControlPlane, tmp_path: Path) -> None:
        with running_worker(tmp_path, plane.environment, ("-c", FAKE_WORKER, "never")) as worker:
            worker.wait_for_event("loading")
            worker.terminate()
            assert worker.exit_status() == 0
            assert plane.polls == 0
            assert "Traceback" not in worker.output()

    def test_after_a_gpu_failure_the_platform_is_told_and_the_worker_ends(
        self, plane: ControlPlane, tmp_path: Path
    ) -> None:
        with running_worker(tmp_path, plane.environment, ("-c", FAKE_WORKER)) as worker:
            plane.give("broken", {"prompt": "broken"})
            body = plane.result("broken")
            assert body["stopPod"] is True
            assert body["output"] == {"status": "error", "code": "gpu_failed"}
            assert "CUDA" not in body["error"]
            # No signal: the worker ends by itself once its polls are answered.
            plane.release()
            assert worker.exit_status() == 0
            assert plane.taken == ["broken"]
