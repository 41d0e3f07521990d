"""LayerDiffuse's attention LoRA, merged into SDXL's UNet when the image is built.

Format (Forge): `diffusion_model.<old path>.weight::lora::0` is up [out, rank], `::lora::1` is down [rank,
in]; no alpha, so the factor is one: W' = W + up @ down in float32, cast back. It covers the four projections
of both attentions of each transformer block, nothing else. Source: lllyasviel/sd-forge-layerdiffuse
(README.md, and the hub file that `sources.json` names), Forge `backend/patcher/lora.py` for the sum.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch

from worker.ldm_names import ldm_unet_names

_KEY: Final = re.compile(r"diffusion_model\.(?P<path>.+\.weight)::lora::(?P<side>[01])")
_TARGET: Final = re.compile(r".+\.transformer_blocks\.\d+\.attn[12]\.to_(q|k|v|out\.0)\.weight")
_SIDES: Final = (0, 1)
"""Up, then down."""

Shapes = Mapping[str, tuple[int, ...]]


class LoraError(Exception):
    """The file is not the attention LoRA of this UNet; the message names the tensor."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The two tensors that change one weight, by their names in the LoRA's file."""

    up: str
    down: str


def attention_weights(unet_names: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the names that the LoRA covers: 560 in SDXL."""
    return [name for name in unet_names if _TARGET.fullmatch(name)]


def place_pairs(lora: Shapes, unet: Shapes, *, layers_per_block: int, rank: int) -> dict[str, Pair]:
    """Say for each weight that the LoRA covers which two tensors change it.

    Args:
        lora: shapes of the LoRA's tensors by name.
        unet: shapes of the UNet's tensors by diffusers' name.
        layers_per_block: of the UNet.
        rank: of every pair.

    Raises:
        LoraError: an unknown tensor, a missing one, or one of another shape.
    """
    old_names = ldm_unet_names(unet, layers_per_block)
    pairs = {
        name: Pair(*(f"diffusion_model.{old_names[name]}::lora::{side}" for side in _SIDES))
        for name in attention_weights(unet)
    }
    expected: dict[str, tuple[int, ...]] = {}
    for name, pair in pairs.items():
        out_features, in_features = unet[name]
        expected[pair.up] = (out_features, rank)
        expected[pair.down] = (rank, in_features)
    for key in sorted(lora.keys() - expected.keys()):
        if not _KEY.fullmatch(key):
            raise LoraError(f"{key}: not in the format of this LoRA")
        raise LoraError(f"{key}: changes what this LoRA does not change")
    if missing := sorted(expected.keys() - lora.keys()):
        found = len(expected) - len(missing)
        raise LoraError(f"{missing[0]}: missing (expected {len(expected)} tensors, found {found})")
    for key, shape in expected.items():
        if lora[key] != shape:
            raise LoraError(f"{key}: expected the shape {list(shape)}, found {list(lora[key])}")
    return pairs


def merge_pair(weight: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Return weight + up @ down, summed in float32, in the weight's dtype.

    Args:
        weight: [out, in], any float dtype.
        up: [out, rank], any float dtype.
        down: [rank, in], any float dtype.
    """
    return (weight.float() + up.float() @ down.float()).to(weight.dtype)
