"""What a single-file SDXL checkpoint holds: names and shapes, from the description of the original networks.

Written as the original code builds them (one list of numbered steps, with a running channel count), so that
it shares nothing with the name tables that it is used to test.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Shape = tuple[int, ...]
Shapes = dict[str, Shape]


@dataclass(frozen=True)
class Network:
    """The original configuration's numbers; SDXL's by default."""

    channels: int = 320
    multipliers: tuple[int, ...] = (1, 2, 4)
    resnets: int = 2
    depths: tuple[int, ...] = (0, 2, 10)
    context: int = 2048
    vector: int = 2816
    clip_l: tuple[int, int, int] = (768, 3072, 12)
    clip_g: tuple[int, int, int] = (1280, 5120, 32)
    vae_channels: tuple[int, ...] = (128, 256, 512, 512)
    vae_resnets: int = 2


SDXL = Network()
TINY = Network(
    channels=32,
    multipliers=(1, 2),
    resnets=1,
    depths=(0, 1),
    context=64,
    vector=80,
    clip_l=(32, 64, 3),
    clip_g=(32, 64, 3),
    vae_channels=(32, 32, 32, 32),
    vae_resnets=1,
)


def checkpoint(network: Network) -> Shapes:
    """Everything that the published file holds."""
    return (
        _prefixed("model.diffusion_model.", unet(network))
        | _prefixed("conditioner.embedders.0.transformer.text_model.", clip_l(network))
        | _prefixed("conditioner.embedders.1.model.", clip_g(network))
        | _prefixed("first_stage_model.", vae(network))
    )


def unet(network: Network) -> Shapes:
    base = network.channels
    time = 4 * base
    shapes: Shapes = {}
    shapes |= _layer("time_embed.0", time, base) | _layer("time_embed.2", time, time)
    shapes |= _layer("label_emb.0.0", time, network.vector) | _layer("label_emb.0.2", time, time)
    shapes |= _layer("input_blocks.0.0", base, 4, 3, 3)
    stack = [base]
    width = base
    step = 1
    last = len(network.multipliers) - 1
    for level, multiplier in enumerate(network.multipliers):
        for _ in range(network.resnets):
            shapes |= _resnet(f"input_blocks.{step}.0", width, multiplier * base, time)
            width = multiplier * base
            shapes |= _transformer(f"input_blocks.{step}.1", width, network.depths[level], network.context)
            stack.append(width)
            step += 1
        if level < last:
            shapes |= _layer(f"input_blocks.{step}.0.op", width, width, 3, 3)
            stack.append(width)
            step += 1
    shapes |= _resnet("middle_block.0", width, width, time)
    shapes |= _transformer("middle_block.1", width, network.depths[-1], network.context)
    shapes |= _resnet("middle_block.2", width, width, time)
    step = 0
    for level, multiplier in reversed(list(enumerate(network.multipliers))):
        for index in range(network.resnets + 1):
            shapes |= _resnet(f"output_blocks.{step}.0", width + stack.pop(), multiplier * base, time)
            width = multiplier * base
            depth = network.depths[level]
            shapes |= _transformer(f"output_blocks.{step}.1", width, depth, network.context)
            if level > 0 and index == network.resnets:
                shapes |= _layer(f"output_blocks.{step}.{2 if depth else 1}.conv", width, width, 3, 3)
            step += 1
    return shapes | _norm("out.0", width) | _layer("out.2", 4, width, 3, 3)


def clip_l(network: Network) -> Shapes:
    width, inner, layers = network.clip_l
    shapes: Shapes = {
        "embeddings.token_embedding.weight": (49408, width),
        "embeddings.position_embedding.weight": (77, width),
        "embeddings.position_ids": (1, 77),
    }
    for index in range(layers):
        layer = f"encoder.layers.{index}"
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _layer(f"{layer}.self_attn.{projection}", width, width)
        shapes |= _norm(f"{layer}.layer_norm1", width) | _norm(f"{layer}.layer_norm2", width)
        shapes |= _layer(f"{layer}.mlp.fc1", inner, width) | _layer(f"{layer}.mlp.fc2", width, inner)
    return shapes | _norm("final_layer_norm", width)


def clip_g(network: Network) -> Shapes:
    width, inner, layers = network.clip_g
    shapes: Shapes = {
        "token_embedding.weight": (49408, width),
        "positional_embedding": (77, width),
        "text_projection": (width, width),
        "logit_scale": (),
    }
    for index in range(layers):
        layer = f"transformer.resblocks.{index}"
        shapes |= {
            f"{layer}.attn.in_proj_weight": (3 * width, width),
            f"{layer}.attn.in_proj_bias": (3 * width,),
        }
        shapes |= _layer(f"{layer}.attn.out_proj", width, width)
        shapes |= _norm(f"{layer}.ln_1", width) | _norm(f"{layer}.ln_2", width)
        shapes |= _layer(f"{layer}.mlp.c_fc", inner, width) | _layer(f"{layer}.mlp.c_proj", width, inner)
    return shapes | _norm("ln_final", width)


def vae(network: Network) -> Shapes:
    channels = network.vae_channels
    last = len(channels) - 1
    shapes: Shapes = _layer("encoder.conv_in", channels[0], 3, 3, 3)
    width = channels[0]
    for level, channel in enumerate(channels):
        for index in range(network.vae_resnets):
            shapes |= _vae_resnet(f"encoder.down.{level}.block.{index}", width, channel)
            width = channel
        if level < last:
            shapes |= _layer(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
    shapes |= _vae_middle("encoder.mid", width)
    shapes |= _norm("encoder.norm_out", width) | _layer("encoder.conv_out", 8, width, 3, 3)
    shapes |= _layer("quant_conv", 8, 8, 1, 1) | _layer("post_quant_conv", 4, 4, 1, 1)
    shapes |= _layer("decoder.conv_in", width, 4, 3, 3)
    shapes |= _vae_middle("decoder.mid", width)
    for level, channel in reversed(list(enumerate(channels))):
        for index in range(network.vae_resnets + 1):
            shapes |= _vae_resnet(f"decoder.up.{level}.block.{index}", width, channel)
            width = channel
        if level > 0:
            shapes |= _layer(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)
    return shapes | _norm("decoder.norm_out", width) | _layer("decoder.conv_out", 3, width, 3, 3)


def attention_lora(network: Network, rank: int) -> Shapes:
    """LayerDiffuse's LoRA in Forge's format: four projections of both attentions of each block."""
    shapes: Shapes = {}
    for name, (*_, outer, inner) in _attention_weights(unet(network)):
        shapes[f"diffusion_model.{name}::lora::0"] = (outer, rank)
        shapes[f"diffusion_model.{name}::lora::1"] = (rank, inner)
    return shapes


def _attention_weights(shapes: Mapping[str, Shape]) -> Iterator[tuple[str, Shape]]:
    for name, shape in shapes.items():
        if (".attn1.to_" in name or ".attn2.to_" in name) and name.endswith(".weight"):
            yield name, shape


def _prefixed(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


def _layer(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": (shape[0],)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _resnet(name: str, inner: int, outer: int, time: int) -> Shapes:
    shapes = _norm(f"{name}.in_layers.0", inner) | _layer(f"{name}.in_layers.2", outer, inner, 3, 3)
    shapes |= _layer(f"{name}.emb_layers.1", outer, time)
    shapes |= _norm(f"{name}.out_layers.0", outer) | _layer(f"{name}.out_layers.3", outer, outer, 3, 3)
    return shapes | (_layer(f"{name}.skip_connection", outer, inner, 1, 1) if inner != outer else {})


def _transformer(name: str, width: int, depth: int, context: int) -> Shapes:
    if depth == 0:
        return {}
    shapes = _norm(f"{name}.norm", width)
    shapes |= _layer(f"{name}.proj_in", width, width) | _layer(f"{name}.proj_out", width, width)
    for index in range(depth):
        block = f"{name}.transformer_blocks.{index}"
        for attention, source in (("attn1", width), ("attn2", context)):
            shapes[f"{block}.{attention}.to_q.weight"] = (width, width)
            shapes[f"{block}.{attention}.to_k.weight"] = (width, source)
            shapes[f"{block}.{attention}.to_v.weight"] = (width, source)
            shapes |= _layer(f"{block}.{attention}.to_out.0", width, width)
        shapes |= _layer(f"{block}.ff.net.0.proj", 8 * width, width) | _layer(
            f"{block}.ff.net.2", width, 4 * width
        )
        for norm in ("norm1", "norm2", "norm3"):
            shapes |= _norm(f"{block}.{norm}", width)
    return shapes


def _vae_resnet(name: str, inner: int, outer: int) -> Shapes:
    shapes = _norm(f"{name}.norm1", inner) | _layer(f"{name}.conv1", outer, inner, 3, 3)
    shapes |= _norm(f"{name}.norm2", outer) | _layer(f"{name}.conv2", outer, outer, 3, 3)
    return shapes | (_layer(f"{name}.nin_shortcut", outer, inner, 1, 1) if inner != outer else {})


def _vae_middle(name: str, width: int) -> Shapes:
    shapes = _vae_resnet(f"{name}.block_1", width, width) | _vae_resnet(f"{name}.block_2", width, width)
    shapes |= _norm(f"{name}.attn_1.norm", width)
    for projection in ("q", "k", "v", "proj_out"):
        shapes |= _layer(f"{name}.attn_1.{projection}", width, width, 1, 1)
    return shapes
