"""Runs what the Dockerfile's stages run, with other paths: no Docker is needed, and none of it is a copy."""

import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest

from tests.dockerfile_reader import ROOT, read_dockerfile

DOCKERFILE: Final = read_dockerfile()
PATIENCE_S: Final = 120
NOWHERE: Final = dict.fromkeys(
    ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"
)
"""A proxy that nobody is, so that reaching for the network fails."""


def copy_context(stage: str, directory: Path) -> None:
    """Put the files into a folder that a stage copies from the builder's context."""
    for instruction in DOCKERFILE.stages[stage].all("COPY"):
        if instruction.flag("from") is not None:
            continue
        *sources, target = instruction.words
        for source in sources:
            path = directory / target / ("" if not target.endswith("/") else Path(source).name)
            if (ROOT / source).is_dir():
                # Style LoRAs that somebody has put there fit the true networks alone, not tiny ones.
                ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
                shutil.copytree(ROOT / source, path, ignore=ignored)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, path)


def run_stage(
    stage: str,
    directory: Path,
    paths: Mapping[str, Path],
    programs: Mapping[str, str],
    environment: Mapping[str, str] = {},
) -> "subprocess.CompletedProcess[str]":
    """Run a stage's one RUN in a folder, the image's paths replaced, with these programs and the shell's."""
    [run] = DOCKERFILE.stages[stage].all("RUN")
    command = run.value
    for path, replacement in paths.items():
        assert path in command, path
        command = command.replace(path, str(replacement))
    # Nothing of the image's own is left: it would be this machine's.
    assert not re.search(
        r"(?<!\w)/(opt|app|models|downloads|run)\b", command.replace(str(directory.parent), "x")
    )
    folder = directory.parent / f"{directory.name}-programs"
    folder.mkdir(exist_ok=True)
    for name, words in programs.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    return subprocess.run(
        ["/bin/sh", "-ec", command],
        cwd=directory,
        env={"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder), **NOWHERE, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


# The packages.


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A package of one module, in a folder that pip may install from."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    path = folder / "locked_package-1.0-py3-none-any.whl"
    information = "locked_package-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("locked_package.py", "answer = 42\n")
        archive.writestr(
            f"{information}/METADATA", "Metadata-Version: 2.1\nName: locked-package\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{information}/RECORD", "")
    return path


def install(lock: str, wheel: Path, tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    directory = tmp_path / "deps"
    copy_context("deps", directory)
    (directory / "requirements.lock").write_text(lock, encoding="utf-8")
    programs = {"python": sys.executable, "pip": f"{sys.executable} -m pip"}
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent), "PIP_CONFIG_FILE": os.devnull}
    return run_stage("deps", directory, {"/opt/venv": tmp_path / "venv"}, programs, offline)


def test_the_packages_stage_installs_what_is_locked_with_byte_code_that_needs_no_check(
    wheel: Path, tmp_path: Path
) -> None:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    run = install(f"locked-package==1.0 \\\n    --hash=sha256:{digest}\n", wheel, tmp_path)
    assert run.returncode == 0, run.stderr
    python = tmp_path / "venv/bin/python"
    answer = subprocess.run(
        [python, "-c", "import locked_package; print(locked_package.answer)"], capture_output=True, text=True
    )
    assert answer.stdout == "42\n"
    assert not list((tmp_path / "venv/bin").glob("pip*"))
    [compiled] = (tmp_path / "venv").rglob("locked_package.*.pyc")
    # PEP 552: 1 is by hash, and the second bit, to be checked, is not set.
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 0b01


@pytest.mark.parametrize("lock", ["locked-package==1.0 --hash=sha256:" + "0" * 64, "locked-package==1.0"])
def test_the_packages_stage_refuses_a_package_of_another_hash_or_of_none(
    lock: str, wheel: Path, tmp_path: Path
) -> None:
    run = install(f"{lock}\n", wheel, tmp_path)
    assert run.returncode != 0
    assert "hash" in run.stderr.lower()


# The weights.


class Hub(ThreadingHTTPServer):
    """Serves files by their path, whatever was asked for first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.files: dict[str, bytes] = {}
        self.tokens: list[str | None] = []


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.tokens.append(self.headers["Authorization"])
        content = self.server.files.get(self.path)
        self.send_response(http.client.NOT_FOUND if content is None else http.client.OK)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def offer(hub: Hub, table: Path, contents: Mapping[str, bytes]) -> None:
    """Let the hub serve contents by the sources' names, and change the table's pins to theirs."""
    sources = json.loads(table.read_text(encoding="utf-8"))
    for source in sources["files"]:
        if source["name"] in contents:
            content = contents[source["name"]]
            source["bytes"], source["sha256"] = len(content), hashlib.sha256(content).hexdigest()
            hub.files[f"/{source['repo']}/resolve/{source['revision']}/{source['file']}"] = content
    table.write_text(json.dumps(sources), encoding="utf-8")


def shell_program(path: Path, module: str, words: str) -> str:
    """Write a program that runs a module with further words; return the words that run it."""
    path.write_text(
        f'#!/bin/sh\n[ "$1 $2" = "-m {module}" ] || exit 99\nshift 2\nexec {words} "$@"\n', encoding="utf-8"
    )
    return f"/bin/sh {path}"


def download(hub: Hub, directory: Path) -> "subprocess.CompletedProcess[str]":
    """Run the weights stage into `downloads` beside its folder."""
    # No packages at all: the stage has Python and nothing else. Only the address is not the build's.
    python = f"{sys.executable} -S -m model_build.download --base-url http://127.0.0.1:{hub.server_port}"
    program = shell_program(directory.parent / "download.sh", "model_build.download", python)
    paths = {
        "/downloads": directory.parent / "downloads",
        "/run/secrets/hf_token": directory.parent / "hf_token",
    }
    direct = {"no_proxy": "127.0.0.1", "CHECKPOINT": DOCKERFILE.arguments["CHECKPOINT"]}
    return run_stage("weights", directory, paths, {"python": program}, direct)


def weights_file(text: str) -> bytes:
    """A safetensors file of one tensor: its header's length, the header, the data."""
    data = text.encode() * 1000
    header = json.dumps(
        {"tensor": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}
    ).encode()
    return len(header).to_bytes(8, "little") + header + data


CONTENTS: Final = {
    name: weights_file(name) for name in ("sdxl-base", "vae", "attention-lora", "transparent-decoder")
}


def test_the_weights_stage_needs_python_alone_and_fetches_what_is_pinned(hub: Hub, tmp_path: Path) -> None:
    directory = tmp_path / "weights"
    copy_context("weights", directory)
    offer(hub, directory / "model_build/sources.json", CONTENTS)
    run = download(hub, directory)
    assert run.returncode == 0, run.stderr
    assert "Licence: CreativeML Open RAIL++-M" in run.stdout
    fetched = [path for path in (tmp_path / "downloads").iterdir() if path.is_file()]
    assert sorted(path.read_bytes() for path in fetched) == sorted(CONTENTS.values())
    assert {*hub.tokens} == {None}


def test_the_weights_stage_sends_the_token_of_the_secret(hub: Hub, tmp_path: Path) -> None:
    directory = tmp_path / "weights"
    copy_context("weights", directory)
    offer(hub, directory / "model_build/sources.json", CONTENTS)
    (tmp_path / "hf_token").write_text("hf_secret\n", encoding="utf-8")
    run = download(hub, directory)
    assert run.returncode == 0, run.stderr
    assert {*hub.tokens} == {"Bearer hf_secret"}
    assert "hf_secret" not in run.stdout + run.stderr
    assert b"hf_secret" not in b"".join(path.read_bytes() for path in (tmp_path / "downloads").iterdir())


def test_the_weights_stage_fails_when_one_file_is_not_the_pinned_one(hub: Hub, tmp_path: Path) -> None:
    directory = tmp_path / "weights"
    copy_context("weights", directory)
    offer(hub, directory / "model_build/sources.json", CONTENTS)
    changed = next(path for path in hub.files if path.endswith("sdxl_vae.safetensors"))
    hub.files[changed] = hub.files[changed][:-1] + b"!"
    run = download(hub, directory)
    assert run.returncode not in (0, None)
    assert "sdxl_vae.safetensors" in run.stderr


def tiny_downloads() -> dict[str, bytes]:
    """The files that a model is made of, of tiny networks, by the names of their sources."""
    import torch
    from safetensors.torch import save

    from model_build.configs import ATTENTION_RANKS, SIZES
    from tests import ldm_checkpoint
    from worker.weights import build_part

    generator = torch.Generator().manual_seed(7)

    def content(shapes: Mapping[str, tuple[int, ...]]) -> bytes:
        # Small enough for float16 at every depth.
        return save({name: 0.02 * torch.randn(shape, generator=generator) for name, shape in shapes.items()})

    decoder = build_part("alpha_decoder", SIZES["tiny"]["alpha_decoder"]).state_dict()
    lora = ldm_checkpoint.attention_lora(ldm_checkpoint.TINY, ATTENTION_RANKS["tiny"])
    return {
        "sdxl-base": content(ldm_checkpoint.checkpoint(ldm_checkpoint.TINY)),
        "vae": content(ldm_checkpoint.vae(ldm_checkpoint.TINY)),
        "attention-lora": content(lora),
        "transparent-decoder": content({name: tuple(tensor.shape) for name, tensor in decoder.items()}),
    }


def make_models(hub: Hub, tmp_path: Path, style_loras: Mapping[str, bytes]) -> Path:
    """Make the model directory by the weights stage and the merge stage, of tiny networks."""
    directory, merge, result = (tmp_path / name for name in ("weights", "merge", "models"))
    copy_context("weights", directory)
    table = directory / "model_build/sources.json"
    offer(hub, table, tiny_downloads())
    run = download(hub, directory)
    assert run.returncode == 0, run.stderr

    copy_context("merge", merge)
    shutil.copy(table, merge / "model_build/sources.json")
    for name, content in style_loras.items():
        (merge / "loras" / f"{name}.safetensors").write_bytes(content)
    python = f"{sys.executable} -m model_build.merge --size tiny"
    program = tmp_path / "merge.sh"
    shell_program(program, "model_build.merge", python)
    program.chmod(0o755)
    paths = {"/opt/venv/bin/python": program, "/downloads": tmp_path / "downloads", "/models": result}
    environment = {"CHECKPOINT": DOCKERFILE.arguments["CHECKPOINT"], "TZ": "UTC"}
    run = run_stage("merge", merge, paths, {}, environment)
    assert run.returncode == 0, run.stderr
    assert "Licence: CreativeML Open RAIL++-M" in run.stdout
    return result


def test_the_merge_stage_takes_the_style_loras_of_the_folder_by_their_names(hub: Hub, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save

    layer = "lora_unet_middle_block_1_proj_in"
    lora = save(
        {f"{layer}.lora_down.weight": torch.ones(2, 64), f"{layer}.lora_up.weight": torch.ones(64, 2)}
    )
    models = make_models(hub, tmp_path, {"some style": lora, "v1.5": lora})
    manifest = json.loads((models / "manifest.json").read_text(encoding="utf-8"))
    assert {*manifest["loras"]} == {"some style", "v1.5"}
    assert (models / "loras/some style.safetensors").read_bytes() == lora
    # They are of the layer that is the same whenever it is made.
    assert {path.stat().st_mtime for path in models.rglob("*")} == {0}


# What is run.


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """What the image has under /app, byte code included."""
    directory = tmp_path / "app"
    copy_context("code", directory)
    run = run_stage("code", directory, {"/app": directory}, {"python": sys.executable})
    assert run.returncode == 0, run.stderr
    return directory


def command(container: Path, words: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of the image with its environment and no other, in its folder."""
    # The image's packages are compiled; these are here, once, by whoever imports them first.
    own = {**DOCKERFILE.environment("runtime"), "PYTHONDONTWRITEBYTECODE": "", "HOME": str(container.parent)}
    assert words[0] == "python"
    return subprocess.run(
        [sys.executable, *(word.replace("/app/", f"{container}/") for word in words[1:])],
        cwd=container,
        env={**own, **NOWHERE, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_the_stages_one_after_the_other_make_a_worker_that_draws(
    container: Path, hub: Hub, tmp_path: Path
) -> None:
    models = make_models(hub, tmp_path, {})
    manifest = json.loads((models / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["checkpoint"]["name"] == DOCKERFILE.arguments["CHECKPOINT"]
    # So that the same weights are the same layer.
    assert {path.stat().st_mtime for path in models.rglob("*")} == {0}
    assert not list(container.rglob("model_build*"))

    # As small as a picture may be: a CPU is slow in float16.
    job = {"input": {"prompt": "a red apple", "width": 64, "height": 64, "steps": 1, "seed": 7}}
    words = DOCKERFILE.inherited("runtime", "CMD")[-1].words
    run = command(
        container, [*words, "--test_input", json.dumps(job)], MODEL_DIR=str(models), WARM_UP_SIZE="0"
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "data:image/png;base64,iVBORw0KGgo" in run.stdout


def test_the_images_test_input_is_a_job(container: Path) -> None:
    job = json.loads((container / "test_input.json").read_text(encoding="utf-8"))
    assert isinstance(job["input"]["prompt"], str)


class Pinged(BaseHTTPRequestHandler):
    status = http.client.OK

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/ping" else http.client.NOT_FOUND)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


def health(container: Path, **environment: str) -> int:
    check = DOCKERFILE.inherited("runtime", "HEALTHCHECK")[-1]
    name, _, value = check.value.partition(" ")
    assert name == "CMD"
    run = command(container, [str(word) for word in json.loads(value)], **environment)
    assert run.stderr == ""
    return run.returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (204, 1), (503, 1)])
def test_in_http_mode_a_worker_is_healthy_once_its_ping_answers_200(
    status: int, code: int, container: Path
) -> None:
    handler = type("Handler", (Pinged,), {"status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        assert health(container, MODE="HTTP", PORT=str(server.server_port)) == code
        server.shutdown()
        thread.join()


def test_in_http_mode_a_worker_that_does_not_listen_is_not_healthy(container: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pinged) as server:
        port = server.server_port
    assert health(container, MODE="http", PORT=str(port)) == 1


def test_in_queue_mode_a_worker_is_healthy_while_it_runs(container: Path) -> None:
    assert health(container) == 0
