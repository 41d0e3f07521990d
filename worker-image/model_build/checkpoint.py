"""Where each tensor of the worker's networks stands in a single-file SDXL checkpoint.

Names only, no numbers: `place_tensors` takes the names that a file has and those that the networks need, and
says for every needed one where it comes from and how it is changed. Nothing may be left over but what is
listed as ignored, and nothing may be missing.

Sources of the old names: Stability-AI/generative-models (`sgm`) for the UNet and the VAE;
mlfoundations/open_clip `transformer.py` for the second text encoder.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch

from worker.ldm_names import ldm_unet_names

Change = Literal["none", "transpose", "linear", "first_third", "second_third", "last_third"]
"""`linear`: a 1x1 convolution's weight becomes a linear layer's. The thirds cut query, key and value, in this
order, from open_clip's joint projection."""

PREFIXES: Final[Mapping[str, str]] = {
    "unet": "model.diffusion_model.",
    "clip_l": "conditioner.embedders.0.transformer.text_model.",
    "clip_g": "conditioner.embedders.1.model.",
    "vae_decoder": "first_stage_model.",
}
"""What stands before each part's names in a checkpoint; a file of the VAE alone has no prefix."""

IGNORED: Final[Mapping[str, str]] = {
    r"first_stage_model\.(encoder|quant_conv|loss)\..+": "the encoding half of the VAE",
    r"conditioner\.embedders\.\d\.(transformer\.text_model\.embeddings\.|model\.)?position_ids": "0..76",
    r"conditioner\.embedders\.\d\.(model\.)?logit_scale": "for comparing texts with pictures",
    r"conditioner\.embedders\.1\.model\.attn_mask": "the causal mask",
    r"model_ema\..+": "a running mean for further training",
    r"denoiser\.sigmas|log_one_minus_alphas_cumprod|(sqrt|posterior)_.+|(alphas|betas).*": "noise schedule",
}
"""Tensors that a checkpoint may have and the worker does not need: pattern of the whole name, and what they
are."""
IGNORED_IN_VAE: Final[Mapping[str, str]] = {
    r"(encoder|quant_conv|loss)\..+": "the encoding half",
    r"model_ema\..+": "a running mean for further training",
}

_OPEN_CLIP_LAYER: Final[Mapping[str, str]] = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_JOINT: Final[Mapping[str, Change]] = {
    "q_proj": "first_third",
    "k_proj": "second_third",
    "v_proj": "last_third",
}
_OPEN_CLIP_ENDS: Final[Mapping[str, tuple[str, Change]]] = {
    "text_model.embeddings.token_embedding.weight": ("token_embedding.weight", "none"),
    "text_model.embeddings.position_embedding.weight": ("positional_embedding", "none"),
    "text_model.final_layer_norm.weight": ("ln_final.weight", "none"),
    "text_model.final_layer_norm.bias": ("ln_final.bias", "none"),
    # open_clip multiplies by the matrix, a linear layer by its transpose.
    "text_projection.weight": ("text_projection", "transpose"),
}
_VAE_ATTENTION: Final[Mapping[str, str]] = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


class CheckpointError(Exception):
    """A file is not what it is taken for; the message names the tensor."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor comes from."""

    key: str
    change: Change = "none"

    def apply(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor, or the third of it, as the network wants it."""
        match self.change:
            case "none":
                return tensor
            case "transpose":
                return tensor.T
            case "linear":
                return tensor.flatten(1)
            case _:
                index = tuple(_JOINT.values()).index(self.change)
                return tensor.chunk(3)[index]


def place_tensors(
    found: Iterable[str],
    needed: Mapping[str, Sequence[str]],
    *,
    layers_per_block: int,
    prefixes: Mapping[str, str] = PREFIXES,
    ignored: Mapping[str, str] = IGNORED,
) -> dict[str, dict[str, Place]]:
    """Say for each part and each of its tensors where it stands in the file.

    Args:
        found: names of the tensors that the file has.
        needed: names that the parts' networks have, by part: `unet`, `clip_l`, `clip_g`, `vae_decoder`.
        layers_per_block: of the UNet.
        prefixes: what stands before each part's names.
        ignored: patterns of names that may be left over.

    Raises:
        CheckpointError: a needed tensor is missing, or one is left over.
    """
    found = set(found)
    places = {
        part: {
            name: Place(prefixes[part] + place.key, place.change)
            for name, place in _old_places(part, names, layers_per_block).items()
        }
        for part, names in needed.items()
    }
    used = {place.key for part in places.values() for place in part.values()}
    if missing := sorted(used - found):
        raise CheckpointError(
            f"{missing[0]}: missing, as are {len(missing) - 1} of the other {len(used) - 1}"
        )
    for key in sorted(found - used):
        if not any(re.fullmatch(pattern, key) for pattern in ignored):
            raise CheckpointError(f"{key}: in the file, but no part of SDXL that is known here")
    return places


def _old_places(part: str, names: Sequence[str], layers_per_block: int) -> dict[str, Place]:
    match part:
        case "unet":
            return {name: Place(old) for name, old in ldm_unet_names(names, layers_per_block).items()}
        case "clip_l":
            return {name: Place(name) for name in names}
        case "clip_g":
            return {name: _open_clip_place(name) for name in names}
        case "vae_decoder":
            levels = {match[1] for name in names if (match := re.match(r"decoder\.up_blocks\.(\d+)", name))}
            return {name: _vae_place(name, len(levels)) for name in names}
        case _:
            raise ValueError(f"no part {part!r} in a checkpoint")


def _open_clip_place(name: str) -> Place:
    if name in _OPEN_CLIP_ENDS:
        return Place(*_OPEN_CLIP_ENDS[name])
    match = re.fullmatch(r"text_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if match is None:
        raise ValueError(f"{name}: no text encoder has this name")
    layer = f"transformer.resblocks.{match[1]}"
    if match[2] in _OPEN_CLIP_LAYER:
        return Place(f"{layer}.{_OPEN_CLIP_LAYER[match[2]]}.{match[3]}")
    return Place(f"{layer}.attn.in_proj_{match[3]}", _JOINT[match[2].removeprefix("self_attn.")])


def _vae_place(name: str, levels: int) -> Place:
    if attention := re.fullmatch(r"decoder\.mid_block\.attentions\.0\.(.+)\.(weight|bias)", name):
        is_matrix = attention[2] == "weight" and attention[1] != "group_norm"
        key = f"decoder.mid.attn_1.{_VAE_ATTENTION[attention[1]]}.{attention[2]}"
        return Place(key, "linear" if is_matrix else "none")
    name = re.sub(r"mid_block\.resnets\.(\d+)", lambda match: f"mid.block_{int(match[1]) + 1}", name)
    # The old names count resolutions from the finest.
    name = re.sub(r"up_blocks\.(\d+)", lambda match: f"up.{levels - 1 - int(match[1])}", name)
    name = name.replace("resnets", "block").replace("upsamplers.0", "upsample")
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    return Place(name)
