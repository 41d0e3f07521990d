"""The names that SDXL's UNet has in single-file checkpoints and in most LoRAs, for diffusers' names.

Source of the old names: Stability-AI/generative-models `sgm/modules/diffusionmodules/openaimodel.py`, where a
UNet is one list of numbered steps; diffusers groups the same steps by resolution.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

_ENDS: Final[Mapping[str, str]] = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_RESNET: Final[Mapping[str, str]] = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_STEP: Final = re.compile(
    r"(?P<way>down|up)_blocks\.(?P<level>\d+)\.(?P<kind>resnets|attentions|downsamplers|upsamplers)\.(?P<index>\d+)"
)


def ldm_unet_names(names: Iterable[str], layers_per_block: int) -> dict[str, str]:
    """Return the old name of each of diffusers' names.

    Args:
        names: of a `UNet2DConditionModel`'s tensors or modules, all of them: whether a resolution has
            attention
            decides how its upsampling step is numbered.
        layers_per_block: resnets per resolution on the way down.

    Raises:
        ValueError: a name that no SDXL UNet has.
    """
    names = list(names)
    attentive = {match[0] for name in names if (match := re.match(r"up_blocks\.\d+\.attentions", name))}
    return {name: _ldm_name(name, layers_per_block, attentive) for name in names}


def _ldm_name(name: str, layers_per_block: int, attentive: set[str]) -> str:
    for start, old in _ENDS.items():
        if name == start or name.startswith(f"{start}."):
            return old + _inside(start, name.removeprefix(start))
    match = _STEP.match(name)
    if match is None:
        raise ValueError(f"{name}: no SDXL UNet has this name")
    rest = name[match.end() :]
    steps = layers_per_block + 1
    first = int(match["level"]) * steps + (1 if match["way"] == "down" else 0)
    blocks = "input_blocks" if match["way"] == "down" else "output_blocks"
    match match["kind"]:
        case "resnets":
            return f"{blocks}.{first + int(match['index'])}.0{_inside('resnets', rest)}"
        case "attentions":
            return f"{blocks}.{first + int(match['index'])}.1{rest}"
        case "downsamplers":
            return f"{blocks}.{first + layers_per_block}.0.op{rest.removeprefix('.conv')}"
        case _:
            place = 2 if f"up_blocks.{match['level']}.attentions" in attentive else 1
            return f"{blocks}.{first + layers_per_block}.{place}{rest}"


def _inside(module: str, rest: str) -> str:
    """Rename what is inside a resnet; all else is named alike."""
    if "resnets" not in module:
        return rest
    part, dot, leaf = rest.removeprefix(".").partition(".")
    return f".{_RESNET[part]}{dot}{leaf}"
