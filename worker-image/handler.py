"""The entry point: a worker for a RunPod queue, or an HTTP server with `MODE=http`.

All variables of the environment: worker/settings.py.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from worker.errors import WorkerError
from worker.gpu import GpuThread
from worker.log import Log
from worker.queue_mode import make_handler
from worker.renderer import Renderer
from worker.service import Service
from worker.settings import Settings, SettingsError


def load_renderer(settings: Settings) -> Renderer:
    """Load the models and draw the warm-up picture; imports torch, so call it in the GPU's thread."""
    from worker.pipeline import Pipeline

    pipeline = Pipeline.load(settings)
    pipeline.warm_up()
    return pipeline


def serve_queue(settings: Settings, log: Log, load: Callable[[Settings], Renderer]) -> None:
    """Load and warm up, then take jobs until the SDK is told to stop."""
    start_s = time.monotonic()
    gpu = GpuThread()
    loading = gpu.submit(lambda: load(settings))
    # At its own default, DEBUG, the SDK prints every input and output.
    os.environ.setdefault("RUNPOD_DEBUG_LEVEL", "INFO")
    from runpod import serverless

    service = Service(loading.result(), settings, log=log, gpu=gpu)
    log.event("ready", load_s=round(time.monotonic() - start_s, 3))
    listened = "RUNPOD_WEBHOOK_POST_OUTPUT" in os.environ
    config: dict[str, Any] = {"concurrency_modifier": lambda current: settings.concurrency}
    config["handler"] = make_handler(
        service, settings, config, serverless.progress_update if listened else None
    )
    serverless.start(config)


def end(signal_number: int, frame: FrameType | None) -> NoReturn:
    """End at once, without waiting for models that load: as PID 1, Python would ignore the signal."""
    # Every line of the log is flushed as it is written.
    os._exit(0)


def main(load: Callable[[Settings], Renderer] = load_renderer) -> int:
    """Run the worker and return the process's exit status."""
    # Until the SDK, or the HTTP server, puts its own handlers in their place.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        settings = Settings.from_environment(os.environ)
        log = Log(settings.log_level)
        log.event("loading", mode=settings.mode)
        if settings.mode == "http":
            from worker.http_app import serve

            return serve(settings, log, load)
        serve_queue(settings, log, load)
    except (SettingsError, WorkerError) as error:
        code = error.code if isinstance(error, WorkerError) else "bad_settings"
        Log(stream=sys.stderr).event("start_refused", "error", code=code, message=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
