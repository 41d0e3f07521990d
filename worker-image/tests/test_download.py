import hashlib
import io
import json
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPMessage, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model_build.download import main
from model_build.transfer import ATTEMPTS, SameHostAuthorization, TransferError

HEADER = json.dumps({"w": {"dtype": "U8", "shape": [300_000], "data_offsets": [0, 300_000]}}).encode()
CONTENT = len(HEADER).to_bytes(8, "little") + HEADER + bytes(range(250)) * 1200
ETAG = '"one"'
HTML = b"<!doctype html><title>Sign in to continue</title>"

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers the n-th request with the n-th answer of the server's list, and further ones with the last."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.requests.append(Request(self.path, dict(self.headers)))
        answers = self.server.answers
        answers[min(len(self.server.requests), len(answers)) - 1](self)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def answer(
        self, status: int, body: bytes, *, length: int | None = None, send_length: bool = True, **headers: str
    ) -> None:
        self.send_response(status)
        for name, value in {"Content_Type": "application/octet-stream", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        if send_length:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)


@dataclass
class Request:
    path: str
    headers: dict[str, str]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = [good]
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def start_server() -> Iterator[Callable[[], Server]]:
    servers: list[Server] = []

    def start() -> Server:
        server = Server()
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(start_server: Callable[[], Server]) -> Server:
    return start_server()


@dataclass
class Command:
    """The download command on a table of one checkpoint."""

    server: Server
    directory: Path
    table: Path
    waits_s: list[float] = field(default_factory=list)

    def run(self, *arguments: str) -> int:
        return main(
            [
                "--to",
                str(self.directory),
                "--base-url",
                self.server.url,
                "--sources",
                str(self.table),
                *arguments,
            ],
            sleep=self.waits_s.append,
        )

    @property
    def target(self) -> Path:
        return self.directory / "model.safetensors"

    @property
    def partial(self) -> Path:
        return self.directory / "model.safetensors.part"


@pytest.fixture
def command(server: Server, tmp_path: Path) -> Command:
    table = tmp_path / "sources.json"
    entry = {
        "name": "model",
        "kind": "checkpoint",
        "default": True,
        "repo": "owner/model",
        "file": "model.safetensors",
        "revision": "0" * 40,
        "bytes": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "licence": "Licence of the Model",
        "notice": "Not behind an API.",
    }
    table.write_text(json.dumps({"format": 1, "files": [entry]}))
    return Command(server, tmp_path / "downloads", table)


def good(handler: Handler) -> None:
    """Whole or, when asked, from an offset, as a storage network answers."""
    asked = handler.headers.get("Range")
    if asked is None or handler.headers.get("If-Range", ETAG) != ETAG:
        handler.answer(200, CONTENT, ETag=ETAG)
        return
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    content_range = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
    handler.answer(206, CONTENT[start:], ETag=ETAG, Content_Range=content_range)


def breaks_off_after(sent_bytes: int) -> Answer:
    return lambda handler: handler.answer(200, CONTENT[:sent_bytes], length=len(CONTENT), ETag=ETAG)


def ignores_range(handler: Handler) -> None:
    handler.answer(200, CONTENT)


def wrong_bytes(handler: Handler) -> None:
    handler.answer(200, CONTENT[:-1] + b"?")


def status(code: int) -> Answer:
    return lambda handler: handler.answer(code, b"{}", Content_Type="application/json")


def redirect_to(url: str) -> Answer:
    return lambda handler: handler.answer(302, b"", Location=url)


def test_a_good_answer_is_put_in_place_and_the_licence_is_printed(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run() == 0

    assert command.target.read_bytes() == CONTENT
    assert [entry.name for entry in command.directory.iterdir()] == ["model.safetensors"]
    assert [request.path for request in command.server.requests] == [
        f"/owner/model/resolve/{'0' * 40}/model.safetensors"
    ]
    printed = capsys.readouterr().out
    assert "Licence of the Model" in printed
    assert "Not behind an API." in printed


def test_a_file_that_is_there_and_right_is_kept_without_a_request(command: Command) -> None:
    command.directory.mkdir()
    command.target.write_bytes(CONTENT)

    assert command.run() == 0
    assert command.server.requests == []


@pytest.mark.parametrize("there", [CONTENT[:-1] + b"?", b"short"])
def test_a_file_that_is_there_and_wrong_is_replaced(command: Command, there: bytes) -> None:
    command.directory.mkdir()
    command.target.write_bytes(there)

    assert command.run() == 0
    assert command.target.read_bytes() == CONTENT


def test_an_interrupted_transfer_goes_on_where_it_broke_off(command: Command) -> None:
    command.server.answers = [breaks_off_after(100_000), good]

    assert command.run() == 0

    assert command.target.read_bytes() == CONTENT
    assert command.server.requests[1].headers["Range"] == "bytes=100000-"
    assert command.server.requests[1].headers["If-Range"] == ETAG
    assert command.waits_s == [1.0]


def test_a_tls_stream_that_breaks_goes_on_where_it_broke_off(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read = HTTPResponse.read
    broken: list[HTTPResponse] = []

    def read_until_the_record_is_bad(response: HTTPResponse, count: int | None = None) -> bytes:
        if not broken:
            broken.append(response)
            return read(response, 100_000)
        if response is broken[0]:
            # An OSError without a number of the system's; elsewhere such are the disk's.
            raise ssl.SSLError(1, "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] decryption failed")
        return read(response, count)

    monkeypatch.setattr(HTTPResponse, "read", read_until_the_record_is_bad)

    assert command.run() == 0, capsys.readouterr().err

    assert command.target.read_bytes() == CONTENT
    assert [request.headers.get("Range") for request in command.server.requests] == [None, "bytes=100000-"]
    assert command.waits_s == [1.0]


def test_what_arrived_in_an_earlier_run_is_used(command: Command) -> None:
    command.directory.mkdir()
    command.partial.write_bytes(CONTENT[:5000])

    assert command.run() == 0

    assert command.target.read_bytes() == CONTENT
    assert command.server.requests[0].headers["Range"] == "bytes=5000-"


def test_a_server_that_ignores_the_range_starts_the_file_anew(command: Command) -> None:
    command.server.answers = [breaks_off_after(100_000), ignores_range]

    assert command.run() == 0
    assert command.target.read_bytes() == CONTENT


@pytest.mark.parametrize("content_range", ["bytes 7-9/10", "bytes 0-9/10", "nonsense", ""])
def test_a_range_that_was_not_asked_for_starts_the_file_anew(command: Command, content_range: str) -> None:
    command.server.answers = [
        breaks_off_after(100_000),
        lambda handler: handler.answer(206, CONTENT[7:10], Content_Range=content_range),
        good,
    ]

    assert command.run() == 0
    assert command.target.read_bytes() == CONTENT
    assert "Range" not in command.server.requests[2].headers


def test_a_partial_file_that_the_server_cannot_continue_is_dropped(command: Command) -> None:
    command.server.answers = [breaks_off_after(100_000), status(416), good]

    assert command.run() == 0
    assert command.target.read_bytes() == CONTENT


@pytest.mark.parametrize("leftover", [b"\x10" + bytes(4999), bytes(len(CONTENT)), bytes(len(CONTENT) + 1)])
def test_a_partial_file_of_other_content_is_dropped_and_fetched_anew(
    command: Command, leftover: bytes
) -> None:
    command.directory.mkdir()
    command.partial.write_bytes(leftover)

    assert command.run() == 0
    assert command.target.read_bytes() == CONTENT


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(command: Command, code: int) -> None:
    command.server.answers = [status(code), status(code), good]

    assert command.run() == 0
    assert command.waits_s == [1.0, 2.0]


def test_a_server_that_stays_in_trouble_ends_the_command_after_bounded_waits(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command.server.answers = [status(500)]

    assert command.run() == 3

    assert len(command.server.requests) == ATTEMPTS
    assert command.waits_s == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert capsys.readouterr().err.endswith("model.safetensors: status 500, after 8 attempts\n")


def test_an_answer_that_ends_early_each_time_is_an_error_and_leaves_nothing_in_place(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command.server.answers = [
        lambda handler: handler.answer(200, CONTENT[:1000], send_length=False, Connection="close")
    ]

    assert command.run() == 3

    assert not command.target.exists()
    assert f"expected {len(CONTENT):,} bytes, got 1,000" in capsys.readouterr().err


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_refusal_is_final_and_shows_the_path(
    command: Command, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    command.server.answers = [status(code)]

    assert command.run() == 3

    error = capsys.readouterr().err
    assert f"/owner/model/resolve/{'0' * 40}/model.safetensors: status {code}" in error
    assert ("--token-file" in error) == (code in (401, 403))
    assert len(error.splitlines()) == 1
    assert len(command.server.requests) == 1


def test_content_with_another_hash_is_final_and_leaves_nothing(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command.server.answers = [wrong_bytes]

    assert command.run() == 4

    error = capsys.readouterr().err
    assert hashlib.sha256(CONTENT).hexdigest() in error
    assert hashlib.sha256(CONTENT[:-1] + b"?").hexdigest() in error
    assert list(command.directory.iterdir()) == []
    assert len(command.server.requests) == 1


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (HTML, "text/html; charset=utf-8"),
        (HTML, "application/octet-stream"),
        (HTML + bytes(len(CONTENT) - len(HTML)), "application/octet-stream"),
        (b'{"error": "Sign in to continue"}', "application/json"),
        (b"version https://git-lfs.github.com/spec/v1 Sign in", "text/plain"),
    ],
)
def test_a_page_instead_of_weights_is_refused_with_its_first_words(
    command: Command, body: bytes, content_type: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command.server.answers = [
        lambda handler: handler.answer(200, body, send_length=False, Content_Type=content_type)
    ]

    assert command.run() == 4

    error = capsys.readouterr().err
    assert "/model.safetensors: expected safetensors weights, got " in error
    assert "Sign in" in error
    assert not command.target.exists()


@pytest.mark.parametrize("body", [CONTENT + b"?", CONTENT[:-1]], ids=["one byte more", "one byte less"])
def test_another_size_than_pinned_is_refused_by_the_announced_length(
    command: Command, body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    command.server.answers = [lambda handler: handler.answer(200, body)]

    assert command.run() == 4
    assert f"expected {len(CONTENT):,} bytes, the server has {len(body):,}" in capsys.readouterr().err


def test_a_server_that_sends_more_than_pinned_is_stopped(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command.server.answers = [lambda handler: handler.answer(200, CONTENT + b"?", send_length=False)]

    assert command.run() == 4
    assert "the server sends more" in capsys.readouterr().err


def test_the_token_goes_to_the_first_host_and_never_to_the_one_it_redirects_to(
    command: Command, start_server: Callable[[], Server], tmp_path: Path
) -> None:
    storage = start_server()
    token_file = tmp_path / "token"
    token_file.write_text("secret-token\n")
    command.server.answers = [redirect_to(f"{storage.url}/blob?signature=1")]
    storage.answers = [breaks_off_after(10_000), good]

    assert command.run("--token-file", str(token_file)) == 0

    assert command.target.read_bytes() == CONTENT
    assert [request.headers.get("Authorization") for request in command.server.requests] == [
        "Bearer secret-token",
        "Bearer secret-token",
    ]
    assert ["Authorization" in request.headers for request in storage.requests] == [False, False]
    assert storage.requests[1].headers["Range"] == "bytes=10000-"


def test_the_token_goes_along_when_a_host_redirects_to_itself(command: Command, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("secret-token")
    command.server.answers = [redirect_to("/renamed/model"), good]

    assert command.run("--token-file", str(token_file)) == 0

    assert command.server.requests[1].path == "/renamed/model"
    assert command.server.requests[1].headers["Authorization"] == "Bearer secret-token"


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_without_a_token_in_the_file_none_is_sent(
    command: Command, tmp_path: Path, content: str | None
) -> None:
    token_file = tmp_path / "token"
    if content is not None:
        token_file.write_text(content)

    assert command.run("--token-file", str(token_file)) == 0
    assert "Authorization" not in command.server.requests[0].headers


def test_the_token_is_read_from_nowhere_but_the_file(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN"):
        monkeypatch.setenv(name, "secret-token")

    assert command.run() == 0
    assert "Authorization" not in command.server.requests[0].headers


@pytest.mark.parametrize("token", ["two words", "line\nline", "ключ"])
def test_what_is_no_token_is_refused_and_not_shown(
    command: Command, tmp_path: Path, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(token, encoding="utf-8")

    assert command.run("--token-file", str(token_file)) == 2
    assert token not in capsys.readouterr().err


def test_a_token_is_not_sent_over_plain_http_to_another_machine(command: Command, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("secret-token")

    assert command.run("--token-file", str(token_file), "--base-url", "http://mirror.invalid") == 2
    assert command.server.requests == []


def test_an_unknown_checkpoint_ends_the_command_before_any_request(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run("--checkpoint", "other") == 2
    assert "there are model" in capsys.readouterr().err
    assert command.server.requests == []


def test_a_directory_that_cannot_be_made_is_a_fault_of_the_disk(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command.directory.write_text("a file where the directory should be")

    assert command.run() == 5
    assert "downloads" in capsys.readouterr().err


def test_a_redirect_from_https_to_plain_http_is_refused() -> None:
    request = urllib.request.Request("https://hub.invalid/owner/model")

    with pytest.raises(TransferError, match="/owner/model: refused a redirect from https to http"):
        SameHostAuthorization().redirect_request(
            request, io.BytesIO(), 302, "Found", HTTPMessage(), "http://hub.invalid/owner/model"
        )
