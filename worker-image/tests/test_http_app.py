import asyncio
import base64
import io
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
import uvicorn
from PIL import Image

from tests.fake_renderer import PATIENCE_S, FakeRenderer, Gate, job, settings
from tests.worker_process import FAKE_WORKER, running_worker
from worker.http_app import HttpWorker, create_app
from worker.log import Log
from worker.renderer import Renderer
from worker.request import GenerateRequest
from worker.settings import Settings

NAME = "alpha_1700000000_AAAAAAAAAAAAAAAAAAAAAA.png"


class Fatal:
    """Counts how often the server was told to end."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def make_worker(
    directory: Path,
    renderer: Renderer | None = None,
    *,
    load: Callable[[Settings], Renderer] | None = None,
    on_fatal: Callable[[], None] = lambda: None,
    **environment: str,
) -> HttpWorker:
    chosen = renderer or FakeRenderer()
    return HttpWorker(
        settings(MODE="http", STORE_DIR=str(directory / "store"), **environment),
        Log(stream=io.StringIO()),
        load or (lambda settings: chosen),
        on_fatal,
    )


@asynccontextmanager
async def client_of(worker: HttpWorker, *, root_path: str = "") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(worker), raise_app_exceptions=False, root_path=root_path)
    async with httpx.AsyncClient(transport=transport, base_url="http://worker.test:81") as client:
        yield client


def ask(
    worker: HttpWorker, method: str, path: str, *, root_path: str = "", **request: object
) -> httpx.Response:
    """Send one request to a worker whose models are loaded."""

    async def run() -> httpx.Response:
        await worker.load()
        async with client_of(worker, root_path=root_path) as client:
            return await client.request(method, path, **request)  # type: ignore[arg-type] # passed on as given

    return asyncio.run(run())


def post(worker: HttpWorker, value: object, *, root_path: str = "") -> httpx.Response:
    return ask(worker, "POST", "/alpha/v1/txt2img", json=value, root_path=root_path)


def exchange(worker: HttpWorker, method: str, path: str, received: dict[str, object]) -> tuple[int, bytes]:
    """Send a request as a server would hand it over, with `path` and what is received as they are."""
    messages: list[dict[str, object]] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"worker.test")],
    }

    async def receive() -> dict[str, object]:
        return received

    async def send(message: dict[str, object]) -> None:
        messages.append(message)

    asyncio.run(create_app(worker)(scope, receive, send))  # type: ignore[arg-type] # a plain ASGI exchange
    status = messages[0]["status"]
    body = messages[1]["body"]
    assert isinstance(status, int)
    assert isinstance(body, bytes)
    return status, body


async def happened(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, PATIENCE_S)


def test_a_picture_is_drawn_and_fetched_from_the_address_in_the_answer(tmp_path: Path) -> None:
    async def run() -> None:
        worker = make_worker(tmp_path)
        await worker.load()
        async with client_of(worker) as client:
            answer = await client.post("/alpha/v1/txt2img", json=job())
            assert answer.status_code == 200
            body = answer.json()
            assert set(body) == {"url", "filename", "info", "seed", "alpha"}
            assert json.loads(body["info"])["seed"] == body["seed"] == 7
            assert body["url"] == f"http://worker.test:81/alpha/v1/file/{body['filename']}"
            file = await client.get(body["url"])
            assert file.status_code == 200
            assert file.headers["content-type"] == "image/png"
            assert file.headers["content-disposition"] == f'attachment; filename="{body["filename"]}"'
            assert file.headers["x-content-type-options"] == "nosniff"
            with Image.open(io.BytesIO(file.content)) as image:
                assert (image.mode, image.size) == ("RGBA", (64, 128))

    asyncio.run(run())


@pytest.mark.parametrize(("encoding", "has_base64"), [("both", True), ("base64", True), ("url", False)])
def test_the_picture_itself_comes_where_it_is_asked_for(
    tmp_path: Path, encoding: str, has_base64: bool
) -> None:
    body = post(make_worker(tmp_path), job(response={"encoding": encoding})).json()
    assert body["url"].startswith("http://worker.test:81/")
    assert ("image_base64" in body) == has_base64
    if has_base64:
        assert base64.b64decode(body["image_base64"], validate=True).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("public_url", "root_path", "start"),
    [
        ("", "", "http://worker.test:81/alpha/v1/file/alpha_"),
        ("", "/worker", "http://worker.test:81/worker/alpha/v1/file/alpha_"),
        ("https://pictures.test/a/", "/worker", "https://pictures.test/a/alpha/v1/file/alpha_"),
    ],
)
def test_addresses_begin_with_the_public_url_or_the_requests_own_with_the_root_path_once(
    tmp_path: Path, public_url: str, root_path: str, start: str
) -> None:
    body = post(make_worker(tmp_path, PUBLIC_URL=public_url), job(), root_path=root_path).json()
    assert body["url"].startswith(start)


def test_a_warm_up_is_answered(tmp_path: Path) -> None:
    answer = post(make_worker(tmp_path), {"warm_up": True})
    assert (answer.status_code, answer.json()) == (200, {"warm": True})


@pytest.mark.parametrize(
    ("content", "status", "code", "field"),
    [
        (b"", 400, "bad_input", None),
        (b"{", 400, "bad_input", None),
        (b"\xff", 400, "bad_input", None),
        (b"[" * 100_000, 400, "bad_input", None),
        (b'{"seed": ' + b"1" * 5000 + b"}", 400, "bad_input", None),
        (b"[]", 400, "bad_input", "input"),
        (b"{}", 422, "missing_field", "prompt"),
        (b'{"prompt": "x", "width": 100}', 422, "bad_size", "width"),
        (b'{"prompt": "x", "response": 1}', 422, "wrong_type", "response"),
        (b" " * (1 << 20) + b"{", 413, "bad_input", None),
    ],
)
def test_a_bad_request_is_told_with_code_message_and_field(
    tmp_path: Path, content: bytes, status: int, code: str, field: str | None
) -> None:
    renderer = FakeRenderer()
    answer = ask(make_worker(tmp_path, renderer), "POST", "/alpha/v1/txt2img", content=content)
    body = answer.json()
    assert (answer.status_code, body["code"], body["field"]) == (status, code, field)
    assert set(body) == {"code", "message", "field"}
    assert body["message"]
    assert renderer.drawn == []


def test_a_body_of_just_the_largest_size_is_read(tmp_path: Path) -> None:
    content = json.dumps(job()).encode().ljust(1 << 20)
    answer = ask(make_worker(tmp_path), "POST", "/alpha/v1/txt2img", content=content)
    assert answer.status_code == 200


def test_a_body_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 16
            yield b" " * (1 << 16)

    answer = ask(make_worker(tmp_path), "POST", "/alpha/v1/txt2img", content=endless())
    assert answer.status_code == 413
    assert sent <= (1 << 20) + (1 << 17)


def test_a_client_that_hangs_up_within_its_body_is_no_failure_of_the_worker(tmp_path: Path) -> None:
    status, body = exchange(make_worker(tmp_path), "POST", "/alpha/v1/txt2img", {"type": "http.disconnect"})
    assert (status, json.loads(body)["message"]) == (400, "the body ended early")


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
def test_drawing_is_post_alone_and_no_other_site_may_ask(tmp_path: Path, method: str) -> None:
    headers = {"Origin": "https://other.test", "Access-Control-Request-Method": "POST"}
    answer = ask(make_worker(tmp_path), method, "/alpha/v1/txt2img", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/sdapi/v1/txt2img", "/alpha/v1/file"])
def test_there_are_no_other_routes(tmp_path: Path, path: str) -> None:
    answer = ask(make_worker(tmp_path), "GET", path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("..", 400),
        (".", 400),
        ("%2e%2e", 400),
        ("%2e%2e%2f%2e%2e%2fetc%2fpasswd", 400),
        ("..%5c..%5csecret.png", 400),
        ("%2fetc%2fpasswd", 400),
        ("/etc/passwd", 400),
        ("%2e%2e%2f" + NAME, 400),
        ("sub/" + NAME, 400),
        (NAME + "%00", 400),
        ("%00" + NAME, 400),
        (NAME + "%0a", 404),
        (NAME.replace(".png", ".PNG"), 400),
        ("secret.png", 400),
        (".writing-abc", 400),
        ("", 400),
        (NAME, 404),
    ],
)
def test_only_the_stores_own_files_are_served(tmp_path: Path, path: str, status: int) -> None:
    worker = make_worker(tmp_path)
    for secret in (tmp_path / NAME, tmp_path / "store" / "secret.png", tmp_path / "store" / NAME):
        secret.write_bytes(b"secret")

    # The raw path, as a client that does not tidy it up would send it.
    got, body = exchange(worker, "GET", f"/alpha/v1/file/{path}", {"type": "http.request"})
    assert got == status
    assert b"secret" not in body
    assert json.loads(body)["code"] == {400: "bad_input", 404: "not_found"}[status]


def test_a_link_in_the_place_of_a_picture_is_not_followed(tmp_path: Path) -> None:
    worker = make_worker(tmp_path)
    filename = post(worker, job()).json()["filename"]
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "store" / filename).unlink()
    (tmp_path / "store" / filename).symlink_to(tmp_path / "secret")
    answer = ask(worker, "GET", f"/alpha/v1/file/{filename}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_before_the_models_are_loaded_jobs_are_put_off(tmp_path: Path) -> None:
    async def run() -> None:
        gate = Gate()

        def load(settings: Settings) -> Renderer:
            gate.hold()
            return FakeRenderer()

        worker = make_worker(tmp_path, load=load)
        async with client_of(worker) as client:
            loading = asyncio.create_task(worker.load())
            await happened(gate.reached)
            ping = await client.get("/ping")
            assert (ping.status_code, ping.content) == (204, b"")
            assert (await client.get("/health")).json()["status"] == "loading"
            refused = await client.post("/alpha/v1/txt2img", json=job())
            assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
            assert int(refused.headers["retry-after"]) > 0
            gate.open.set()
            await loading
            assert (await client.get("/ping")).status_code == 200
            assert (await client.post("/alpha/v1/txt2img", json=job())).status_code == 200

    asyncio.run(run())


def test_models_that_do_not_load_end_the_server(tmp_path: Path) -> None:
    fatal = Fatal()

    def load(settings: Settings) -> Renderer:
        raise RuntimeError("no such driver")

    worker = make_worker(tmp_path, load=load, on_fatal=fatal)
    assert ask(worker, "GET", "/ping").status_code == 503
    assert fatal.times == 1
    assert isinstance(worker.start_failure, RuntimeError)


def test_after_a_gpu_failure_the_answer_is_sent_and_the_server_ends(tmp_path: Path) -> None:
    fatal = Fatal()

    def before_step(request: GenerateRequest, step: int) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    async def run() -> None:
        worker = make_worker(tmp_path, FakeRenderer(before_step), on_fatal=fatal)
        await worker.load()
        async with client_of(worker) as client:
            failed = await client.post("/alpha/v1/txt2img", json=job())
            assert (failed.status_code, failed.json()["code"]) == (500, "gpu_failed")
            assert "CUDA" not in failed.text
            assert fatal.times == 1
            assert (await client.get("/ping")).status_code == 503
            health = await client.get("/health")
            assert (health.status_code, health.json()["status"]) == (503, "failed")
            assert (await client.post("/alpha/v1/txt2img", json=job())).json()["code"] == "not_ready"

    asyncio.run(run())


def test_a_failure_outside_a_job_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = make_worker(tmp_path)

    def fail(filename: str) -> bytes:
        raise OSError("/srv/secret is broken")

    monkeypatch.setattr(worker.store, "read", fail)
    answer = ask(worker, "GET", f"/alpha/v1/file/{NAME}")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text


def test_one_request_too_many_is_told_when_to_come_again(tmp_path: Path) -> None:
    async def run() -> None:
        gate = Gate()
        worker = make_worker(tmp_path, FakeRenderer(lambda request, step: gate.hold()), MAX_WAITING="0")
        await worker.load()
        async with client_of(worker) as client:
            drawing = asyncio.create_task(client.post("/alpha/v1/txt2img", json=job()))
            await happened(gate.reached)
            busy = await client.post("/alpha/v1/txt2img", json=job())
            assert (busy.status_code, busy.json()["code"]) == (503, "busy")
            assert int(busy.headers["retry-after"]) > 0
            gate.open.set()
            assert (await drawing).status_code == 200

    asyncio.run(run())


def test_health_counts_jobs_and_files_and_tells_no_settings(tmp_path: Path) -> None:
    async def run() -> None:
        worker = make_worker(tmp_path)
        await worker.load()
        async with client_of(worker) as client:
            await client.post("/alpha/v1/txt2img", json=job())
            await client.post("/alpha/v1/txt2img", json={})
            answer = await client.get("/health")
        body = answer.json()
        assert answer.status_code == 200
        assert set(body) == {"status", "model", "uptime_s", "jobs", "store"}
        assert (body["status"], body["model"]) == ("ready", "tiny")
        assert body["uptime_s"] >= 0
        assert body["jobs"] == {"done": 1, "failed": 1, "in_queue": 0}
        assert body["store"]["files"] == 1
        assert body["store"]["bytes"] > 0
        assert str(tmp_path) not in answer.text

    asyncio.run(run())


def test_a_client_that_hangs_up_stops_its_job_between_two_steps(tmp_path: Path) -> None:
    async def run() -> None:
        gate = Gate()
        steps: list[int] = []

        def before_step(request: GenerateRequest, step: int) -> None:
            if request.prompt == "abandoned":
                steps.append(step)
                if step == 2:
                    gate.hold()

        lines = io.StringIO()
        worker = make_worker(tmp_path, FakeRenderer(before_step))
        worker.log = Log(stream=lines)
        server = uvicorn.Server(uvicorn.Config(create_app(worker), log_config=None, lifespan="on"))
        listener = socket.create_server(("127.0.0.1", 0))
        host, port = listener.getsockname()
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=PATIENCE_S) as client:
            while (await client.get("/ping")).status_code != 200:
                pass
            with pytest.raises(httpx.ReadTimeout):
                # The gate holds the job until this client has given up.
                await client.post("/alpha/v1/txt2img", json=job("abandoned", steps=50), timeout=0.5)
            assert gate.reached.is_set()
            # Queued behind the abandoned job: answered once that one has stopped.
            following = asyncio.create_task(client.post("/alpha/v1/txt2img", json=job("following")))
            while (await client.get("/health")).json()["jobs"]["in_queue"] != 1:
                pass
            gate.open.set()
            answer = await following
            assert answer.status_code == 200
            picture = await client.get(answer.json()["url"])
            assert picture.content.startswith(b"\x89PNG")
        server.should_exit = True
        await serving
        assert steps == [1, 2]
        codes = [
            record["code"] for record in map(json.loads, lines.getvalue().splitlines()) if "code" in record
        ]
        assert codes == ["cancelled", "ok"]

    asyncio.run(run())


def test_the_server_listens_before_the_models_are_loaded_and_ends_at_sigterm(tmp_path: Path) -> None:
    environment = {"MODE": "http", "HOST": "127.0.0.1", "PORT": "0", "STORE_DIR": str(tmp_path / "store")}
    with running_worker(tmp_path, environment, ("-c", FAKE_WORKER, "never")) as worker:
        port = worker.wait_for_event("listening")["port"]
        assert httpx.get(f"http://127.0.0.1:{port}/ping", timeout=PATIENCE_S).status_code == 204
        worker.terminate()
        assert worker.exit_status() == 0
        assert "Traceback" not in worker.output()


def wait_until_closed(port: int) -> None:
    """Connect until nobody listens any more: refused then, or reset where the listener goes meanwhile."""
    with suppress(ConnectionRefusedError, ConnectionResetError):
        while True:
            socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()


def test_a_server_that_is_told_to_end_finishes_its_job_first(tmp_path: Path) -> None:
    environment = {"MODE": "http", "HOST": "127.0.0.1", "PORT": "0", "STORE_DIR": str(tmp_path / "store")}

    async def run() -> None:
        with running_worker(tmp_path, environment, ("-c", FAKE_WORKER)) as worker:
            port = await asyncio.to_thread(lambda: worker.wait_for_event("listening")["port"])
            await asyncio.to_thread(worker.wait_for_event, "ready")
            base_url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=base_url, timeout=PATIENCE_S) as client:
                drawing = asyncio.create_task(client.post("/alpha/v1/txt2img", json=job("held")))
                await asyncio.to_thread(worker.wait_for_line, "held")
                worker.terminate()
                await asyncio.to_thread(wait_until_closed, port)
                worker.go_on()
                answer = await drawing
                assert answer.status_code == 200
                assert answer.json()["seed"] == 7
            assert await asyncio.to_thread(worker.exit_status) == 0
            assert "Traceback" not in worker.output()

    asyncio.run(run())


def test_a_server_whose_gpu_has_failed_answers_and_ends_with_status_1(tmp_path: Path) -> None:
    environment = {"MODE": "http", "HOST": "127.0.0.1", "PORT": "0", "STORE_DIR": str(tmp_path / "store")}
    with running_worker(tmp_path, environment, ("-c", FAKE_WORKER)) as worker:
        port = worker.wait_for_event("listening")["port"]
        worker.wait_for_event("ready")
        answer = httpx.post(
            f"http://127.0.0.1:{port}/alpha/v1/txt2img", json=job("broken"), timeout=PATIENCE_S
        )
        assert (answer.status_code, answer.json()["code"]) == (500, "gpu_failed")
        assert worker.exit_status() == 1
        assert json.loads(worker.wait_for_line('"event": "job"'))["code"] == "gpu_failed"
