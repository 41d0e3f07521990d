"""What a style LoRA's file changes: its tensors' names, in any of the usual formats, for the networks' own.

Formats: kohya (`lora_unet_…`, `lora_te1_…`, `lora_te2_…` with `.lora_down.weight`, `.lora_up.weight`,
    `.alpha`; the UNet's paths in diffusers' or in the original words, dots as underscores) and peft or
    diffusers (`unet.`, `text_encoder.`, `text_encoder_2.` before dotted paths, `.lora_A.weight` and
    `.lora_B.weight`, or down and up). Only low-rank pairs on linear layers and convolutions; every other kind
    is refused by name, never skipped. Sources: kohya-ss/sd-scripts `networks/lora.py`, huggingface/peft
    `tuners/lora`, diffusers `loaders/lora_conversion_utils.py`.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from worker.errors import WorkerError
from worker.ldm_names import ldm_unet_names
from worker.manifest import TensorHeader, check_weights_file

_ROLES: Final[Mapping[str, str]] = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".alpha": "alpha",
}
_OTHER_KINDS: Final[Mapping[str, str]] = {
    r"hada_": "LoHa",
    r"lokr_": "LoKr",
    r"dora_scale|lora_magnitude_vector": "DoRA",
    r"lora_mid": "a LoCon with a middle tensor",
    r"oft_": "OFT",
    r"\.(diff|diff_b|set_weight)$": "a full difference",
    r"lora_embedding": "an embedding's LoRA",
    r"bundle_emb|emb_params": "a textual inversion",
    r"lora_B\.bias|lora_up\.bias": "a LoRA with biases",
}


_TEXT_ENCODERS: Final[Mapping[str, tuple[str, str]]] = {
    "clip_l": ("text_encoder", "lora_te1"),
    "clip_g": ("text_encoder_2", "lora_te2"),
}
_PEFT_PARTS: Final[Mapping[str, str]] = {"unet": "unet", "text_encoder": "clip_l", "text_encoder_2": "clip_g"}
_PEFT_KINDS: Final = frozenset({"use_dora", "use_rslora", "alpha_pattern", "lora_bias"})
"""Settings of peft's that change the sum, when they are on."""


@dataclass(frozen=True, slots=True)
class LoraPair:
    """One weight that a file changes: W + weight · scale · up @ down, where scale is alpha / rank."""

    part: str
    """`unet`, `clip_l` or `clip_g`."""
    name: str
    """Of the weight in its network."""
    up: str
    """Tensor [out, rank] or [out, rank, 1, 1] in the file."""
    down: str
    """Tensor [rank, in] or [rank, in, k, k] in the file."""
    alpha_key: str | None
    """Scalar tensor in the file."""
    alpha: float
    """Without such a tensor: what the file's metadata says, else the rank."""
    rank: int


@dataclass(frozen=True, slots=True)
class _Target:
    part: str
    name: str
    shape: tuple[int, ...]


class TensorFile(Protocol):
    """What is used of safetensors' open file, which has no types."""

    def get_tensor(self, name: str) -> Tensor:
        """Return a tensor by name, on the CPU."""


class LoraTargets:
    """Every name by which a file may ask for a weight of the networks.

    Args:
        networks: `unet`, `clip_l` and `clip_g`; on any device, also meta.
    """

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self._targets: dict[str, _Target] = {}
        for part, network in networks.items():
            shapes = {
                name.removesuffix(".weight"): tuple(tensor.shape)
                for name, tensor in network.state_dict().items()
                if name.endswith(".weight") and tensor.dim() >= 2 and "embeddings." not in name
            }
            for alias, module in _aliases(part, network, list(shapes)):
                self._targets[alias] = _Target(part, f"{module}.weight", shapes[module])

    def find(self, module: str) -> _Target | None:
        """Return the weight that a file means by a module's name."""
        return self._targets.get(module)


def read_lora(path: Path, expected_bytes: int, targets: LoraTargets) -> tuple[LoraPair, ...]:
    """Check a file by its header, and say what it changes.

    Raises:
        WorkerError: `weights_invalid`: not a safetensors file of that size, or a tensor that is of another
            kind than a low-rank pair, that no network here has a place for, that lacks its other half, or
            that has another shape.
    """
    header = check_weights_file(path, expected_bytes)
    alphas = _default_alphas(path)
    modules: dict[str, dict[str, str]] = {}
    for key in header:
        module, role = _split(path, key)
        modules.setdefault(module, {})[role] = key
    pairs = []
    for module, roles in modules.items():
        first = min(roles.values())
        target = targets.find(module)
        if target is None:
            raise _refused(path, first, "changes nothing that this model has")
        if "up" not in roles or "down" not in roles:
            raise _refused(path, first, f"lacks the {'down' if 'up' in roles else 'up'} tensor beside it")
        pairs.append(_pair(path, target, roles, header, alphas))
    if not pairs:
        raise WorkerError("weights_invalid", f"{path.name}: a LoRA without tensors")
    names = [(pair.part, pair.name) for pair in pairs]
    if len(set(names)) != len(names):
        raise WorkerError("weights_invalid", f"{path.name}: two LoRA pairs change the same weight")
    return tuple(pairs)


def _pair(
    path: Path,
    target: _Target,
    roles: Mapping[str, str],
    header: Mapping[str, TensorHeader],
    alphas: Mapping[str, float],
) -> LoraPair:
    up, down = header[roles["up"]].shape, header[roles["down"]].shape
    outer, inner = target.shape[0], target.shape[1:]
    rank = down[0] if down else 0
    if rank < 1 or math.prod(down) != rank * math.prod(inner) or (len(down) > 1 and down[1] != inner[0]):
        raise _refused(
            path, roles["down"], f"has the shape {list(down)}, for a weight of {list(target.shape)}"
        )
    if up[:2] != (outer, rank) or math.prod(up) != outer * rank:
        raise _refused(path, roles["up"], f"has the shape {list(up)}, for a weight of {list(target.shape)}")
    if "alpha" in roles and math.prod(header[roles["alpha"]].shape) != 1:
        raise _refused(path, roles["alpha"], "is not one number")
    return LoraPair(
        part=target.part,
        name=target.name,
        up=roles["up"],
        down=roles["down"],
        alpha_key=roles.get("alpha"),
        alpha=alphas.get(target.part, float(rank)),
        rank=rank,
    )


def _split(path: Path, key: str) -> tuple[str, str]:
    for pattern, kind in _OTHER_KINDS.items():
        if re.search(pattern, key):
            raise _refused(path, key, f"is {kind}; only low-rank pairs (LoRA) are understood")
    for ending, role in _ROLES.items():
        if key.endswith(ending):
            return key.removesuffix(ending), role
    raise _refused(path, key, "is no tensor of a LoRA that is understood")


def _aliases(part: str, network: nn.Module, modules: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield every name that a file may have for each module, with the module's own."""
    if part == "unet":
        old_names = ldm_unet_names(modules, _layers_per_block(network))
        for module, old in old_names.items():
            yield f"unet.{module}", module
            yield f"diffusion_model.{old}", module
            yield f"lora_unet_{_flat(module)}", module
            yield f"lora_unet_{_flat(old)}", module
        return
    dotted, kohya = _TEXT_ENCODERS[part]
    for module in modules:
        # The first encoder's own names lack the `text_model.` that files have.
        full = module if module.startswith("text_") else f"text_model.{module}"
        yield f"{dotted}.{full}", module
        yield f"{kohya}_{_flat(full)}", module
        yield f"{dotted}.{module}", module


def _layers_per_block(network: nn.Module) -> int:
    configuration = cast("Mapping[str, object]", network.config)
    return int(str(configuration["layers_per_block"]))


def _flat(module: str) -> str:
    return module.replace(".", "_")


def _default_alphas(path: Path) -> dict[str, float]:
    """Return alpha by part, as peft's settings say that diffusers saves in the file's metadata."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("lora_adapter_metadata")
        settings: object = json.loads(text) if text else {}
    except (SafetensorError, ValueError) as error:
        raise WorkerError("weights_invalid", f"{path.name}: its header is damaged ({error})") from error
    if not isinstance(settings, dict):
        raise _refused(path, "lora_adapter_metadata", "is not an object")
    alphas: dict[str, float] = {}
    for key, value in settings.items():
        prefix, _, setting = str(key).rpartition(".")
        if setting in _PEFT_KINDS and value:
            raise _refused(path, key, f"is {value!r}; only plain LoRA is understood")
        if setting == "lora_alpha" and prefix in _PEFT_PARTS:
            if not isinstance(value, int | float):
                raise _refused(path, key, f"is {value!r}, not a number")
            alphas[_PEFT_PARTS[prefix]] = float(value)
    return alphas


def _refused(path: Path, key: str, reason: str) -> WorkerError:
    return WorkerError("weights_invalid", f"{path.name}: {key} {reason}")
