"""From a model directory to networks on their device: checked first, built without numbers, filled once.

A model directory is `manifest.json` (see `worker.manifest`) and the safetensors files that it names. Names
and shapes in the files are those of the classes' own state dicts, so that loading is strict and nothing is
converted.
"""

import importlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from worker.errors import WorkerError
from worker.manifest import (
    MANIFEST_NAME,
    PART_NAMES,
    Manifest,
    TensorHeader,
    check_weights_file,
    read_manifest,
)

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    from worker.transparent_decoder import TransparentDecoder
    from worker.vae import VaeDecoder

__all__ = [
    "Manifest",
    "Models",
    "build_part",
    "load_models",
    "read_manifest",
    "resolve_model_directory",
]


@dataclass(frozen=True)
class Models:
    """The networks, in evaluation mode, without gradients, on their device."""

    unet: "UNet2DConditionModel"
    clip_l: "CLIPTextModel"
    clip_g: "CLIPTextModelWithProjection"
    vae: "VaeDecoder"
    alpha_decoder: "TransparentDecoder"
    manifest: Manifest
    timings_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds: `check`, `imports`, `build`, `wait` (for bytes still on their way after that), `read_<part>`
    (in its thread, beside all others), `total`."""


class ModelLocation(Protocol):
    """The settings that say where the weights are; `worker.settings.Settings` has them."""

    @property
    def model_dir(self) -> Path:
        """A model directory in the image or on a volume."""

    @property
    def model_repo(self) -> str | None:
        """`owner/name` of a hub repository that the platform caches on the host; it wins over `model_dir`."""

    @property
    def model_cache(self) -> Path:
        """Where cached models lie, in the hub client's layout."""


def resolve_model_directory(location: ModelLocation) -> Path:
    """Return the model directory: `model_dir`, or the cached snapshot of `model_repo` when that is set.

    In the cache, `models--owner--name/refs/main` names the snapshot; without it, the only snapshot is taken.

    Raises:
        WorkerError: `weights_invalid`, saying which directory was expected and what lies there instead.

    """
    if not location.model_repo:
        if not (location.model_dir / MANIFEST_NAME).is_file():
            raise _invalid(
                f"{location.model_dir}: expected a model directory with {MANIFEST_NAME}, found none;"
                " set MODEL_DIR, or MODEL_REPO for a cached model"
            )
        return location.model_dir
    owner, slash, name = location.model_repo.partition("/")
    if not slash or not owner or not name or "/" in name or ".." in location.model_repo:
        raise _invalid(f"MODEL_REPO: expected owner/name, found {location.model_repo[:80]!r}")
    repository = location.model_cache / f"models--{owner}--{name}"
    directory = _snapshot(repository)
    if not (directory / MANIFEST_NAME).is_file():
        raise _invalid(f"{directory}: expected {MANIFEST_NAME} in the cached model, found none")
    return directory


def _snapshot(repository: Path) -> Path:
    snapshots = repository / "snapshots"
    found = sorted(entry for entry in snapshots.iterdir() if entry.is_dir()) if snapshots.is_dir() else []
    reference = repository / "refs" / "main"
    if reference.is_file():
        revision = reference.read_text(encoding="utf-8").strip()
        for entry in found:
            if entry.name == revision:
                return entry
        raise _invalid(
            f"{snapshots}: expected the snapshot {revision[:80]!r} that refs/main names, found none"
        )
    if len(found) != 1:
        raise _invalid(f"{snapshots}: expected one snapshot of the cached model, found {len(found)}")
    return found[0]


def build_part(name: str, config: Mapping[str, object]) -> nn.Module:
    """Build a part's network on the meta device: names and shapes without memory.

    Args:
        name: one of `PART_NAMES`.
        config: the constructor's arguments; lists stand for tuples, as JSON has none.

    Raises:
        WorkerError: `weights_invalid`, when the class does not take that configuration.

    """
    arguments: dict[str, object] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in config.items()
    }
    try:
        with torch.device("meta"):
            return _constructor(name)(**arguments)
    except (TypeError, ValueError) as error:
        raise _invalid(
            f"{MANIFEST_NAME}: {name}: its configuration does not fit the network ({error})"
        ) from error


def _constructor(name: str) -> Callable[..., nn.Module]:
    # Imported here: the libraries cost seconds, which pass while the weights are being read.
    match name:
        case "unet":
            from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

            return cast("Callable[..., nn.Module]", UNet2DConditionModel)
        case "clip_l":
            from transformers import CLIPTextConfig, CLIPTextModel

            return lambda **arguments: cast("nn.Module", CLIPTextModel(CLIPTextConfig(**arguments)))
        case "clip_g":
            from transformers import CLIPTextConfig, CLIPTextModelWithProjection

            return lambda **arguments: cast(
                "nn.Module", CLIPTextModelWithProjection(CLIPTextConfig(**arguments))
            )
        case "vae_decoder":
            from worker.vae import VaeDecoder

            return VaeDecoder
        case "alpha_decoder":
            from worker.transparent_decoder import TransparentDecoder

            return TransparentDecoder
        case _:
            raise ValueError(f"no part {name!r}")


def load_models(directory: Path, device: torch.device, dtype: torch.dtype | None = None) -> Models:
    """Load every part of a model directory onto a device.

    All sizes and headers are checked before a byte of data is read. Then one thread per part reads straight
    to the device, while this one imports the libraries and builds the networks on the meta device.

    Args:
        directory: with `manifest.json`.
        device: of the networks.
        dtype: of all weights; as in the files when None.

    Raises:
        WorkerError: `weights_invalid`, naming the file, what was expected and what was found.

    """
    started_s = time.perf_counter()
    timings: dict[str, float] = {}
    manifest = read_manifest(directory)
    headers = {
        name: check_weights_file(manifest.path(part.weights), part.weights.bytes)
        for name, part in manifest.parts.items()
    }
    for weights in manifest.loras.values():
        check_weights_file(manifest.path(weights), weights.bytes)
    timings["check"] = time.perf_counter() - started_s

    # Before the threads, so that they do not all wait for the one that starts the driver.
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # torch's own lack
    with ThreadPoolExecutor(max_workers=len(PART_NAMES), thread_name_prefix="weights") as threads:
        reading: dict[str, Future[tuple[dict[str, torch.Tensor], float]]] = {
            name: threads.submit(_read, manifest.path(part.weights), device, dtype)
            for name, part in manifest.parts.items()
        }
        timings["imports"] = _seconds(_import_libraries)
        built_s = time.perf_counter()
        modules = {name: build_part(name, part.config) for name, part in manifest.parts.items()}
        timings["build"] = time.perf_counter() - built_s
        waited_s = time.perf_counter()
        for name, module in modules.items():
            file = manifest.parts[name].weights.file
            _check_names(file, headers[name], module)
            tensors, timings[f"read_{name}"] = reading[name].result()
            module.load_state_dict(tensors, strict=True, assign=True)
            _fill_buffers(file, module, device)
            module.requires_grad_(False).eval()
        timings["wait"] = time.perf_counter() - waited_s
    timings["total"] = time.perf_counter() - started_s
    return Models(
        unet=modules["unet"],
        clip_l=modules["clip_l"],
        clip_g=modules["clip_g"],
        vae=cast("VaeDecoder", modules["vae_decoder"]),
        alpha_decoder=cast("TransparentDecoder", modules["alpha_decoder"]),
        manifest=manifest,
        timings_s=timings,
    )


def _import_libraries() -> None:
    # By their modules: a package's own names are resolved, and paid for, only when they are first asked for.
    for module in ("transformers.models.clip.modeling_clip", "diffusers.models.unets.unet_2d_condition"):
        importlib.import_module(module)


def _read(
    path: Path, device: torch.device, dtype: torch.dtype | None
) -> tuple[dict[str, torch.Tensor], float]:
    started_s = time.perf_counter()
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            tensors = {key: file.get_tensor(key) for key in file.offset_keys()}
    except SafetensorError as error:
        raise _invalid(f"{path.name}: expected safetensors weights, found damage ({error})") from error
    if dtype is not None:
        tensors = {key: tensor.to(dtype) for key, tensor in tensors.items()}
    return tensors, time.perf_counter() - started_s


def _check_names(file: str, header: Mapping[str, TensorHeader], module: nn.Module) -> None:
    expected = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    for key in sorted(expected.keys() ^ header.keys()):
        raise _invalid(
            f"{file}: expected {len(expected)} tensors, found {len(header)};"
            f" {key} is {'missing' if key in expected else 'not one of them'}"
        )
    for key, shape in expected.items():
        if header[key].shape != shape:
            raise _invalid(
                f"{file}: {key}: expected the shape {list(shape)}, found {list(header[key].shape)}"
            )


def _fill_buffers(file: str, module: nn.Module, device: torch.device) -> None:
    """Give numbers to buffers that no file holds: the text encoders' position numbers, and no others."""
    for name, buffer in list(module.named_buffers()):
        if not buffer.is_meta:
            continue
        owner, _, leaf = name.rpartition(".")
        if leaf != "position_ids":
            raise _invalid(f"{file}: the buffer {name} is in no file")
        numbers = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
        module.get_submodule(owner).register_buffer(leaf, numbers, persistent=False)


def _seconds(action: Callable[[], None]) -> float:
    started_s = time.perf_counter()
    action()
    return time.perf_counter() - started_s


def _invalid(message: str) -> WorkerError:
    return WorkerError("weights_invalid", message)
