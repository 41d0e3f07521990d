import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_build.random_model import write_random_model
from worker import weights
from worker.errors import WorkerError
from worker.manifest import MANIFEST_NAME, PART_NAMES, check_weights_file, read_manifest
from worker.weights import build_part, load_models, resolve_model_directory

CPU = torch.device("cpu")
REVISION = "a" * 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    write_random_model(directory, "tiny", loras=["style"])
    return directory


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(model, tmp_path / "model")


def edit_manifest(directory: Path, edit: Callable[[dict[str, object]], object]) -> None:
    path = directory / MANIFEST_NAME
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def put(path: str, value: object) -> Callable[[dict[str, object]], object]:
    """Set the value at a path such as `parts.unet.bytes`, or remove it when the value is `...`."""

    def edit(manifest: dict[str, object]) -> None:
        *parents, last = path.split(".")
        place: object = manifest
        for parent in parents:
            assert isinstance(place, dict)
            place = place[parent]
        assert isinstance(place, dict)
        if value is ...:
            del place[last]
        else:
            place[last] = value

    return edit


def refusal(directory: Path) -> str:
    with pytest.raises(WorkerError) as caught:
        load_models(directory, CPU)
    assert caught.value.code == "weights_invalid"
    return caught.value.message


def test_each_network_has_the_numbers_of_its_file(model: Path) -> None:
    models = load_models(model, CPU)

    networks = {
        "unet": models.unet,
        "clip_l": models.clip_l,
        "clip_g": models.clip_g,
        "vae_decoder": models.vae,
        "alpha_decoder": models.alpha_decoder,
    }
    for name, network in networks.items():
        stored = load_file(model / f"{name}.safetensors")
        state = network.state_dict()
        assert state.keys() == stored.keys()
        assert all(torch.equal(state[key], stored[key]) for key in stored)


def test_the_networks_are_ready_to_evaluate(model: Path) -> None:
    models = load_models(model, CPU)

    for network in (models.unet, models.clip_l, models.clip_g, models.vae, models.alpha_decoder):
        assert not network.training
        tensors = [*network.parameters(), *network.buffers()]
        assert not any(tensor.is_meta or tensor.requires_grad for tensor in tensors)
    tokens = torch.tensor([[49406, 320, 49407]])
    assert models.clip_l(tokens).last_hidden_state.shape == (1, 3, 32)
    assert models.clip_g.text_model.embeddings.position_ids.tolist() == [list(range(77))]


def test_a_dtype_that_is_asked_for_wins_over_the_files(model: Path) -> None:
    models = load_models(model, CPU, torch.bfloat16)

    assert {parameter.dtype for parameter in models.unet.parameters()} == {torch.bfloat16}
    assert models.clip_l.embeddings.position_ids.dtype == torch.int64


def test_the_phases_are_timed(model: Path) -> None:
    timings = load_models(model, CPU).timings_s

    assert timings.keys() == {
        "check",
        "imports",
        "build",
        "wait",
        "total",
        *(f"read_{part}" for part in PART_NAMES),
    }
    assert timings["total"] >= timings["check"] + timings["imports"] + timings["build"] + timings["wait"] > 0


def test_the_files_are_read_while_the_libraries_are_imported(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_are_reading = threading.Barrier(len(PART_NAMES) + 1, timeout=10)
    read = weights._read

    def read_together(*arguments: object) -> object:
        all_are_reading.wait()
        return read(*arguments)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(weights, "_read", read_together)
    monkeypatch.setattr(weights, "_import_libraries", all_are_reading.wait)

    load_models(model, CPU)

    assert not all_are_reading.broken


def test_a_truncated_file_is_refused_with_both_sizes(copy: Path) -> None:
    path = copy / "unet.safetensors"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1000])

    assert refusal(copy) == f"unet.safetensors: expected {size:,} bytes, found {size - 1000:,}"


def test_nothing_is_read_when_one_file_is_wrong(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_read", lambda *arguments: pytest.fail("read"))
    (copy / "alpha_decoder.safetensors").unlink()

    assert refusal(copy).startswith("alpha_decoder.safetensors: expected ")


@pytest.mark.parametrize(
    "body",
    [b"<!doctype html><title>Sign in</title>", b'{"error": "Sign in"}', b"version https://git-lfs Sign in"],
)
def test_a_page_instead_of_weights_is_refused_with_its_first_words(copy: Path, body: bytes) -> None:
    path = copy / "clip_g.safetensors"
    path.write_bytes(body + b" " * (path.stat().st_size - len(body)))

    message = refusal(copy)
    assert message.startswith("clip_g.safetensors: expected safetensors weights, found text that begins")
    assert "Sign in" in message


def test_a_style_lora_is_checked_at_the_start_too(copy: Path) -> None:
    (copy / "loras" / "style.safetensors").write_bytes(b"short")

    assert "style.safetensors: expected" in refusal(copy)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01\x00",
        (2**63).to_bytes(8, "little") + b"{}",
        (100).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{{",
        (2).to_bytes(8, "little") + b"{}more",
        (13).to_bytes(8, "little") + b'{"weight": 1}',
        (48).to_bytes(8, "little") + b'{"weight":{"dtype":"F16","shape":[1],"data_":2}}',
    ],
)
def test_a_file_with_a_broken_header_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "part.safetensors"
    path.write_bytes(content)

    with pytest.raises(WorkerError, match=r"part\.safetensors") as caught:
        check_weights_file(path, len(content))
    assert caught.value.code == "weights_invalid"


def test_a_header_tells_dtype_and_shape_of_each_tensor(tmp_path: Path) -> None:
    path = tmp_path / "part.safetensors"
    save_file({"weight": torch.zeros((2, 3), dtype=torch.float16)}, path, metadata={"format": "pt"})

    header = check_weights_file(path, path.stat().st_size)

    assert {name: (tensor.dtype, tensor.shape) for name, tensor in header.items()} == {
        "weight": ("F16", (2, 3))
    }


def replace_tensors(directory: Path, part: str, tensors: dict[str, torch.Tensor]) -> None:
    path = directory / f"{part}.safetensors"
    save_file(tensors, path)
    edit_manifest(directory, put(f"parts.{part}.bytes", path.stat().st_size))


def test_a_missing_tensor_is_named(copy: Path) -> None:
    tensors = load_file(copy / "vae_decoder.safetensors")
    del tensors["decoder.conv_in.bias"]
    replace_tensors(copy, "vae_decoder", tensors)

    assert refusal(copy).endswith("decoder.conv_in.bias is missing")


def test_a_tensor_too_many_is_named(copy: Path) -> None:
    tensors = load_file(copy / "vae_decoder.safetensors")
    replace_tensors(copy, "vae_decoder", tensors | {"extra": torch.zeros(1)})

    assert refusal(copy).endswith("extra is not one of them")


def test_a_tensor_of_another_shape_is_named_with_both_shapes(copy: Path) -> None:
    tensors = load_file(copy / "vae_decoder.safetensors")
    replace_tensors(copy, "vae_decoder", tensors | {"decoder.conv_in.bias": torch.zeros(5)})

    assert refusal(copy) == (
        "vae_decoder.safetensors: decoder.conv_in.bias: expected the shape [32], found [5]"
    )


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", 2, "format 1"),
        ("format", ..., "format 1"),
        ("dtype", "int8", "one of float16"),
        ("checkpoint", ..., "an object"),
        ("checkpoint.name", "", "a text"),
        ("checkpoint.aliases", "sdxl", "a list of texts"),
        ("parts.clip_l", ..., "an object"),
        ("parts.unet.bytes", "many", "a number of bytes"),
        ("parts.unet.bytes", 0, "a number of bytes"),
        ("parts.unet.sha256", None, "a text"),
        ("parts.unet.config", [], "an object"),
        ("parts.unet.file", "../unet.safetensors", "a path inside"),
        ("parts.unet.file", "/unet.safetensors", "a path inside"),
        ("loras", [], "an object"),
    ],
)
def test_a_manifest_with_a_wrong_field_is_refused(copy: Path, path: str, value: object, message: str) -> None:
    edit_manifest(copy, put(path, value))

    assert f"{path.split('.')[-1]}: expected {message}" in refusal(copy)


@pytest.mark.parametrize(
    ("path", "value"), [("parts.unet.config.no_such_argument", 1), ("parts.vae_decoder.config.x", 1)]
)
def test_a_configuration_that_the_network_does_not_take_is_refused(
    copy: Path, path: str, value: object
) -> None:
    edit_manifest(copy, put(path, value))

    assert "its configuration does not fit the network" in refusal(copy)


@pytest.mark.parametrize("text", ["", "not JSON", "[]"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(text)

    with pytest.raises(WorkerError, match=r"manifest\.json"):
        read_manifest(tmp_path)


def test_a_buffer_that_no_file_holds_is_refused() -> None:
    module = torch.nn.Module()
    module.register_buffer("unknown", torch.zeros(1, device="meta"), persistent=False)

    with pytest.raises(WorkerError, match=r"part\.safetensors: the buffer unknown is in no file"):
        weights._fill_buffers("part.safetensors", module, CPU)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(WorkerError, match="no part 'upscaler'"):
        build_part("upscaler", {})


@dataclass
class Cache:
    """A hub cache with the repository `owner/model`."""

    root: Path

    def add_snapshot(self, revision: str, *, manifest: bool = True) -> Path:
        directory = self.root / "models--owner--model" / "snapshots" / revision
        directory.mkdir(parents=True)
        if manifest:
            (directory / MANIFEST_NAME).write_text("{}")
        return directory

    def set_main(self, revision: str) -> None:
        path = self.root / "models--owner--model" / "refs" / "main"
        path.parent.mkdir(parents=True)
        path.write_text(revision)

    def resolve(self, repo: str = "owner/model") -> Path:
        return resolve_model_directory(
            SimpleNamespace(model_dir=self.root / "nowhere", model_repo=repo, model_cache=self.root)
        )


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def test_without_a_repository_the_model_directory_is_taken(model: Path) -> None:
    location = SimpleNamespace(model_dir=model, model_repo=None, model_cache=Path("/nowhere"))

    assert resolve_model_directory(location) == model


def test_a_model_directory_without_a_manifest_is_refused_with_the_settings_to_change(tmp_path: Path) -> None:
    location = SimpleNamespace(model_dir=tmp_path, model_repo=None, model_cache=tmp_path)

    with pytest.raises(WorkerError, match="set MODEL_DIR, or MODEL_REPO"):
        resolve_model_directory(location)


def test_the_snapshot_that_main_names_is_taken(cache: Cache) -> None:
    cache.add_snapshot("b" * 40)
    directory = cache.add_snapshot(REVISION)
    cache.set_main(REVISION + "\n")

    assert cache.resolve() == directory


def test_the_only_snapshot_is_taken_when_there_is_no_main(cache: Cache) -> None:
    directory = cache.add_snapshot(REVISION)

    assert cache.resolve() == directory


@pytest.mark.parametrize("revisions", [(), (REVISION, "b" * 40)])
def test_no_snapshot_or_several_without_a_main_are_refused(cache: Cache, revisions: tuple[str, ...]) -> None:
    for revision in revisions:
        cache.add_snapshot(revision)

    with pytest.raises(
        WorkerError, match=f"expected one snapshot of the cached model, found {len(revisions)}"
    ):
        cache.resolve()


@pytest.mark.parametrize("named", ["b" * 40, "../../outside"])
def test_a_main_that_names_no_snapshot_is_refused(cache: Cache, named: str) -> None:
    cache.add_snapshot(REVISION)
    cache.set_main(named)

    with pytest.raises(WorkerError, match=r"that refs/main names, found none"):
        cache.resolve()


def test_a_snapshot_without_a_manifest_is_refused(cache: Cache) -> None:
    cache.add_snapshot(REVISION, manifest=False)

    with pytest.raises(WorkerError, match=r"expected manifest\.json in the cached model"):
        cache.resolve()


@pytest.mark.parametrize("repo", ["model", "owner/", "/model", "a/b/c", "../model", "owner/.."])
def test_what_is_no_repository_name_is_refused(cache: Cache, repo: str) -> None:
    with pytest.raises(WorkerError, match="MODEL_REPO: expected owner/name"):
        cache.resolve(repo)
