"""The HTTP mode: one POST that draws, the files it made, and what a load balancer asks.

The routes under `/alpha/v1` are those of the published image.
"""

import asyncio
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from worker.errors import WorkerError
from worker.finished import Finished
from worker.gpu import GpuThread
from worker.http_requests import names_encoding, parse_body, read_body, unless_gone
from worker.log import Log
from worker.output import make_result
from worker.renderer import Renderer
from worker.request import WarmUp
from worker.service import Service
from worker.settings import Settings, SettingsError
from worker.store import FILENAME, FileStore

RETRY_AFTER_S: Final = 5
"""What `Retry-After` says: about the time of one picture, or of a start that is nearly done."""

CLIENT_CLOSED: Final = 499
"""Status of an answer that nobody reads; nginx's number for it."""


class HttpWorker:
    """The state behind the routes: the service once the models are loaded, and why not until then.

    Args:
        settings: the whole worker's.
        log: gets one line per job.
        load: loads the models; called once, in the GPU's thread, when the server has begun to listen.
        on_fatal: called once when the process can do no more work and should end.

    """

    def __init__(
        self,
        settings: Settings,
        log: Log,
        load: Callable[[Settings], Renderer],
        on_fatal: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.log = log
        self.store = FileStore(
            settings.store_dir,
            max_files=settings.store_max_files,
            max_age_s=settings.store_max_age_s,
            max_bytes=settings.store_max_bytes,
        )
        self.service: Service | None = None
        self.checkpoint: str | None = None
        self.start_failure: BaseException | None = None
        self._load = load
        self._on_fatal = on_fatal
        self._gpu = GpuThread()
        self._started_at_s = time.monotonic()

    @property
    def status(self) -> str:
        """Return `loading`, `ready` or `failed`."""
        if self.start_failure is not None or (self.service is not None and self.service.failure is not None):
            return "failed"
        return "loading" if self.service is None else "ready"

    async def load(self) -> None:
        """Load the models beside the running server."""
        try:
            renderer = await asyncio.wrap_future(self._gpu.submit(lambda: self._load(self.settings)))
        except Exception as error:
            self.start_failure = error
            self._on_fatal()
            return
        self.checkpoint = renderer.installed.checkpoint
        self.service = Service(
            renderer, self.settings, log=self.log, gpu=self._gpu, max_waiting=self.settings.max_waiting
        )
        self.log.event("ready", load_s=round(time.monotonic() - self._started_at_s, 3))

    def ready_service(self) -> Service:
        """Return the service.

        Raises:
            WorkerError: `not_ready`.

        """
        if self.service is None:
            raise WorkerError("not_ready", "the models are still loading; try again later")
        return self.service

    def health(self) -> dict[str, object]:
        """Return what `GET /health` tells."""
        files, size_bytes = self.store.size()
        service = self.service
        jobs = (service.done, service.failed, service.in_queue) if service is not None else (0, 0, 0)
        return {
            "status": self.status,
            "model": self.checkpoint,
            "uptime_s": round(time.monotonic() - self._started_at_s, 3),
            "jobs": dict(zip(("done", "failed", "in_queue"), jobs, strict=True)),
            "store": {"files": files, "bytes": size_bytes},
        }

    def end_if_failed(self) -> None:
        """Let the platform replace a process whose GPU has failed; called when the job's answer is sent."""
        if self.status == "failed":
            self._on_fatal()


def create_app(worker: HttpWorker) -> FastAPI:
    """Return the ASGI application.

    Every error is JSON: `code`, `message`, `field` (null where no field is at fault).
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(worker.load())
        yield
        loading.cancel()

    # No pages about itself: what the worker takes is said in its README.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)

    @app.exception_handler(WorkerError)
    async def worker_error(request: Request, error: WorkerError) -> JSONResponse:
        return error_response(error, worker)

    @app.exception_handler(Exception)
    async def unexpected_error(request: Request, error: Exception) -> JSONResponse:
        # The server logs the traceback.
        return error_response(WorkerError("internal", "the worker failed; its log has the details"), worker)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_input")
        content = {"code": code, "message": error.detail, "field": None}
        return JSONResponse(content, error.status_code, error.headers)

    @app.post("/alpha/v1/txt2img")
    async def txt2img(request: Request) -> Response:
        value = parse_body(await read_body(request))
        # What the published image answers has no picture in it; it comes where it is asked for.
        asks = names_encoding(value)
        base_url = worker.settings.public_url or str(request.base_url).rstrip("/")

        def deliver(finished: Finished) -> dict[str, object]:
            wants_base64 = asks and finished.request.encoding != "url"
            result = make_result(
                replace(finished.request, encoding="base64"),
                finished.png,
                finished.info,
                finished.statistics,
                finished.filename,
                worker.settings.max_result_bytes if wants_base64 else sys.maxsize,
            )
            worker.store.write(finished.filename, finished.png)
            # The status line says how it went.
            del result["status"]
            if not wants_base64:
                del result["image_base64"]
            # A root path is in the request's base URL already.
            return {"url": f"{base_url}/alpha/v1/file/{finished.filename}", **result}

        result = await unless_gone(
            request, worker.ready_service().generate(value, job_id=uuid.uuid4().hex, deliver=deliver)
        )
        if result is None:
            return Response(status_code=CLIENT_CLOSED, background=BackgroundTask(worker.end_if_failed))
        return JSONResponse({"warm": True} if isinstance(result, WarmUp) else result)

    @app.get("/alpha/v1/file/{filename:path}")
    async def file(filename: str) -> Response:
        if not FILENAME.fullmatch(filename):
            raise WorkerError("bad_input", "filename is not the name of a picture", field="filename")
        data = await asyncio.to_thread(worker.store.read, filename)
        if data is None:
            raise HTTPException(404, "no such picture, or not any more")
        headers = {
            "Content-Disposition": f'attachment; filename="{filename}"',
            "X-Content-Type-Options": "nosniff",
        }
        return Response(data, media_type="image/png", headers=headers)

    @app.get("/ping")
    async def ping() -> Response:
        # RunPod's load balancer: 200 healthy, 204 initializing, anything else unhealthy.
        return Response(status_code={"loading": 204, "ready": 200, "failed": 503}[worker.status])

    @app.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse(worker.health(), 503 if worker.status == "failed" else 200)

    return app


def error_response(error: WorkerError, worker: HttpWorker) -> JSONResponse:
    """Return an error as JSON; with `Retry-After` where the same request may succeed later."""
    return JSONResponse(
        {"code": error.code, "message": error.message, "field": error.field},
        error.http_status,
        {"Retry-After": str(RETRY_AFTER_S)} if error.http_status == 503 else None,
        background=BackgroundTask(worker.end_if_failed),
    )


def serve(settings: Settings, log: Log, load: Callable[[Settings], Renderer]) -> int:
    """Listen, load the models meanwhile, answer until a signal comes; return the exit status.

    SIGTERM closes the door and lets the jobs in hand end; uvicorn then raises the signal again for the
    handler that was there before.

    Raises:
        SettingsError: the port or the store's directory cannot be used.
        WorkerError: `weights_invalid`.

    """
    try:
        worker = HttpWorker(settings, log, load, lambda: setattr(server, "should_exit", True))
    except OSError as error:
        raise SettingsError(f"STORE_DIR cannot be used: {error}") from error
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise SettingsError(f"HOST and PORT cannot be listened on: {error}") from error
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(worker), lifespan="on", log_config=None, access_log=False, server_header=False
        )
    )
    log.event("listening", port=listener.getsockname()[1])
    server.run(sockets=[listener])
    if worker.start_failure is not None:
        raise worker.start_failure
    return 1 if worker.status == "failed" else 0
