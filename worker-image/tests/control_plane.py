"""The least that the RunPod SDK needs of its platform: a loopback server of jobs that takes results.

Routes and timings after the SDK's own source (runpod 1.12.0, in `runpod/serverless/modules`: `rp_job.py`,
`rp_http.py`, `rp_ping.py`, `rp_scale.py`). Polls without work are held: the SDK makes no pause between polls.
"""

import json
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

HOLD_S = 20.0
"""How long a poll without work is held; the SDK gives up after 90 s."""

PATIENCE_S = 90.0
"""How long a test waits for what must happen; reached only when it does not."""

KEY = "test-key"
WORKER_ID = "worker-1"


class ControlPlane:
    """What the worker did, and what it is to do. Every attribute is read and changed under `changed`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.changed = threading.Condition()
        self.jobs: list[dict[str, Any]] = []
        """Jobs that no worker has taken."""
        self.stops: list[str] = []
        """Ids of jobs that the worker has not been told to stop."""
        self.released = False
        self.taken: list[str] = []
        self.stops_sent: list[str] = []
        self.progress: list[tuple[str, Any]] = []
        self.done: dict[str, list[dict[str, Any]]] = {}
        """Final bodies by job id; more than one would be a result posted twice."""
        self.pings: list[list[str]] = []
        """The ids of the jobs in hand, of each ping."""
        self.polls = 0
        self.first_poll_s = 0.0
        """Seconds since 1970."""
        self.unauthorised: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the SDK finds its platform."""
        base = f"http://127.0.0.1:{self._port}/v2/endpoint"
        return {
            # Each with a query: the SDK appends its own with "&".
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=cpu",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=cpu",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=cpu",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID?gpu=cpu",
            "RUNPOD_PING_INTERVAL": "1000",
            "RUNPOD_AI_API_KEY": KEY,
            "RUNPOD_POD_ID": WORKER_ID,
            "RUNPOD_ENDPOINT_ID": "endpoint",
            # They want 4 GB of memory and an answer from a server on the Internet.
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
        }

    def give(self, job_id: str, value: object) -> None:
        """Queue a job."""
        with self.changed:
            self.jobs.append({"id": job_id, "input": value})
            self.changed.notify_all()

    def stop(self, job_id: str) -> None:
        """Tell the worker to stop a job."""
        with self.changed:
            self.stops.append(job_id)
            self.changed.notify_all()

    def release(self) -> None:
        """Answer all polls at once from now on: the SDK ends only when its open polls have."""
        with self.changed:
            self.released = True
            self.changed.notify_all()

    def wait_for(self, happened: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until `happened()`; it is asked after every change."""
        with self.changed:
            assert self.changed.wait_for(happened, timeout_s), f"this did not happen: {what}"

    def result(self, job_id: str) -> dict[str, Any]:
        """Wait for the one final body of a job."""
        self.wait_for(lambda: job_id in self.done, f"a result of {job_id}")
        with self.changed:
            (body,) = self.done[job_id]
        return body

    def progress_of(self, job_id: str) -> list[Any]:
        """What the job has reported so far, in the order of arrival."""
        with self.changed:
            return [output for reported, output in self.progress if reported == job_id]

    def next_job(self, is_open: Callable[[], bool]) -> dict[str, Any] | None:
        """Hold a poll until there is a job for it; never hand one to a client that has gone."""
        with self.changed:
            self.polls += 1
            self.first_poll_s = self.first_poll_s or time.time()
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.jobs or self.released, HOLD_S)
            if self.released or not self.jobs or not is_open():
                return None
            job = self.jobs.pop(0)
            self.taken.append(job["id"])
            self.changed.notify_all()
            return job

    def next_stops(self) -> list[str]:
        """Hold a poll until there are jobs to stop."""
        with self.changed:
            self.changed.wait_for(lambda: self.stops or self.released, HOLD_S)
            stops, self.stops = self.stops, []
            self.stops_sent += stops
            self.changed.notify_all()
            return stops

    def take_body(self, job_id: str, body: dict[str, Any]) -> None:
        """Keep what was posted to the job-done address: progress, or the end."""
        with self.changed:
            if body.get("status") == "IN_PROGRESS":
                self.progress.append((job_id, body["output"]))
            else:
                self.done.setdefault(job_id, []).append(body)
            self.changed.notify_all()


def _make_handler(plane: ControlPlane) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if not self._is_authorised():
                return
            url = urlsplit(self.path)
            if url.path == f"/v2/endpoint/job-take/{WORKER_ID}":
                self._answer(plane.next_job(self._is_open))
            elif url.path == f"/v2/endpoint/job-take-batch/{WORKER_ID}":
                job = plane.next_job(self._is_open)
                self._answer(None if job is None else [job])
            elif url.path == f"/v2/endpoint/job-stop/{WORKER_ID}":
                stops = plane.next_stops()
                self._answer({"jobsToStop": stops} if stops else None)
            elif url.path == f"/v2/endpoint/ping/{WORKER_ID}":
                ids = parse_qs(url.query).get("job_id", [""])[0]
                with plane.changed:
                    plane.pings.append(ids.split(",") if ids else [])
                    plane.changed.notify_all()
                self._answer({})
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not self._is_authorised():
                return
            start = f"/v2/endpoint/job-done/{WORKER_ID}/"
            path = urlsplit(self.path).path
            if path.startswith(start):
                plane.take_body(path.removeprefix(start), json.loads(body))
                self._answer({})
            else:
                self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """Print nothing."""

        def _is_authorised(self) -> bool:
            # The SDK sends the key without "Bearer".
            if self.headers["Authorization"] == KEY:
                return True
            with plane.changed:
                plane.unauthorised.append(self.path)
            self.send_error(401)
            return False

        def _is_open(self) -> bool:
            """Nothing to read: between request and answer only the end of the connection could be read."""
            return not select.select([self.connection], [], [], 0)[0]

        def _answer(self, value: object) -> None:
            body = b"" if value is None else json.dumps(value).encode()
            self.send_response(204 if value is None else 200)
            if value is not None:
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of workers that end with a poll open."""


@contextmanager
def running_control_plane() -> Iterator[ControlPlane]:
    """Serve on a free loopback port for as long as the block lasts."""
    server = _Server(("127.0.0.1", 0), BaseHTTPRequestHandler)
    plane = ControlPlane(server.server_address[1])
    server.RequestHandlerClass = _make_handler(plane)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.05), daemon=True)
    thread.start()
    try:
        yield plane
    finally:
        plane.release()
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_S)
