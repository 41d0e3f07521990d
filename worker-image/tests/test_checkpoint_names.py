import functools
import json
import math
from collections.abc import Mapping

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from torch import nn

from model_build.checkpoint import (
    IGNORED_IN_VAE,
    PREFIXES,
    CheckpointError,
    Place,
    place_tensors,
)
from model_build.configs import SIZES, TINY
from tests import ldm_checkpoint
from tests.ldm_checkpoint import Network
from worker.weights import build_part

NETWORKS = {"full": ldm_checkpoint.SDXL, "tiny": ldm_checkpoint.TINY}
PARTS = tuple(PREFIXES)


@functools.cache
def build(size: str, part: str) -> nn.Module:
    return build_part(part, SIZES[size][part])


def needed_shapes(size: str, part: str) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in build(size, part).state_dict().items()}


def needed_names(size: str) -> dict[str, list[str]]:
    return {part: list(needed_shapes(size, part)) for part in PARTS}


def resnets(size: str) -> int:
    return NETWORKS[size].resnets


def safetensors_bytes(shapes: Mapping[str, tuple[int, ...]], dtype: str, item_bytes: int) -> int:
    """Size of a file of these tensors, sorted by name, without metadata, the header padded to eight."""
    entries = {}
    end = 0
    for name in sorted(shapes):
        begin, end = end, end + math.prod(shapes[name]) * item_bytes
        entries[name] = {"dtype": dtype, "shape": list(shapes[name]), "data_offsets": [begin, end]}
    header = len(json.dumps(entries, separators=(",", ":")))
    return 8 + header + (-header % 8) + end


@pytest.mark.parametrize(
    ("part", "parameters"),
    [
        ("unet", 2_567_463_684),
        ("clip_l", 123_060_480),
        ("clip_g", 694_659_840),
        ("vae_decoder", 49_490_199),
        ("alpha_decoder", 104_104_804),
    ],
)
def test_the_true_configurations_have_the_published_numbers_of_parameters(part: str, parameters: int) -> None:
    assert sum(tensor.numel() for tensor in build("full", part).parameters()) == parameters


@pytest.mark.parametrize("size", ["full", "tiny"])
def test_a_checkpoint_gives_each_network_exactly_its_tensors_in_their_shapes(size: str) -> None:
    shapes = ldm_checkpoint.checkpoint(NETWORKS[size])

    places = place_tensors(shapes, needed_names(size), layers_per_block=resnets(size))

    for part in PARTS:
        converted = {
            name: tuple(place.apply(torch.empty(shapes[place.key], device="meta")).shape)
            for name, place in places[part].items()
        }
        assert converted == needed_shapes(size, part)


@pytest.mark.parametrize("size", ["full", "tiny"])
def test_no_tensor_of_a_checkpoint_is_used_twice_but_for_the_joint_projections(size: str) -> None:
    places = place_tensors(
        ldm_checkpoint.checkpoint(NETWORKS[size]), needed_names(size), layers_per_block=resnets(size)
    )

    used = [(place.key, place.change) for part in places.values() for place in part.values()]
    whole = [key for key, change in used if not change.endswith("third")]

    assert len(set(used)) == len(used)
    assert len(set(whole)) == len(whole)


def test_the_unet_has_the_names_that_diffusers_own_conversion_gives() -> None:
    prefix = PREFIXES["unet"]
    shapes = {prefix + name: shape for name, shape in ldm_checkpoint.unet(ldm_checkpoint.SDXL).items()}
    numbered = {key: torch.tensor(float(index)) for index, key in enumerate(shapes)}
    config = {"layers_per_block": 2, "class_embed_type": None, "addition_embed_type": "text_time"}

    converted = convert_ldm_unet_checkpoint(dict(numbered), config)
    places = place_tensors(shapes, {"unet": needed_names("full")["unet"]}, layers_per_block=2)

    assert {name: float(value) for name, value in converted.items()} == {
        name: float(numbered[place.key]) for name, place in places["unet"].items()
    }


def test_the_vae_has_the_names_that_diffusers_own_conversion_gives() -> None:
    shapes = ldm_checkpoint.vae(ldm_checkpoint.SDXL)
    numbered = {
        key: torch.full([1] * max(1, len(shape)), float(index))
        for index, (key, shape) in enumerate(shapes.items())
    }
    config = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}

    converted = convert_ldm_vae_checkpoint(dict(numbered), config)
    places = place_tensors(
        shapes,
        {"vae_decoder": needed_names("full")["vae_decoder"]},
        layers_per_block=2,
        prefixes={"vae_decoder": ""},
        ignored=IGNORED_IN_VAE,
    )

    decoding = {
        name: float(value.flatten()[0])
        for name, value in converted.items()
        if name.startswith(("decoder.", "post_quant_conv."))
    }
    assert decoding == {
        name: float(numbered[place.key].flatten()[0]) for name, place in places["vae_decoder"].items()
    }


def test_the_described_vae_file_has_the_published_size_but_for_the_order_in_its_header() -> None:
    # 250 tensors: two counters of a running mean besides the VAE's own. Another order moves digits.
    file = ldm_checkpoint.vae(ldm_checkpoint.SDXL) | {"model_ema.decay": (), "model_ema.num_updates": ()}

    assert len(file) == 250
    assert abs(safetensors_bytes(file, "F32", 4) - 334_641_162) < 8


def test_the_joint_projection_is_cut_into_query_key_and_value_in_this_order() -> None:
    joint = torch.arange(12.0).reshape(6, 2)
    places = place_tensors(
        {PREFIXES["clip_g"] + name: None for name in ldm_checkpoint.clip_g(ldm_checkpoint.TINY)},
        {"clip_g": needed_names("tiny")["clip_g"]},
        layers_per_block=1,
    )["clip_g"]

    layer = "text_model.encoder.layers.1.self_attn"
    cut = [places[f"{layer}.{name}_proj.weight"] for name in ("q", "k", "v")]

    assert {place.key for place in cut} == {
        PREFIXES["clip_g"] + "transformer.resblocks.1.attn.in_proj_weight"
    }
    assert [place.apply(joint).tolist() for place in cut] == [
        [[0.0, 1.0], [2.0, 3.0]],
        [[4.0, 5.0], [6.0, 7.0]],
        [[8.0, 9.0], [10.0, 11.0]],
    ]
    assert places["text_projection.weight"].change == "transpose"


def test_a_convolution_of_one_pixel_becomes_a_linear_layer() -> None:
    weight = torch.arange(6.0).reshape(3, 2, 1, 1)

    assert Place("key", "linear").apply(weight).tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]


@pytest.mark.parametrize(
    "key",
    [
        "conditioner.embedders.1.model.logit_scale",
        "conditioner.embedders.0.logit_scale",
        "conditioner.embedders.0.transformer.text_model.embeddings.position_ids",
        "conditioner.embedders.1.model.attn_mask",
        "first_stage_model.encoder.conv_in.weight",
        "first_stage_model.quant_conv.bias",
        "first_stage_model.loss.logvar",
        "model_ema.decay",
        "denoiser.sigmas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "betas",
        "sqrt_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "posterior_variance",
    ],
)
def test_tensors_that_no_network_needs_may_be_there(key: str) -> None:
    shapes = ldm_checkpoint.checkpoint(ldm_checkpoint.TINY) | {key: (1,)}

    place_tensors(shapes, needed_names("tiny"), layers_per_block=1)


@pytest.mark.parametrize(
    "key",
    [
        "model.diffusion_model.input_blocks.9.0.in_layers.0.weight",
        "model.diffusion_model.input_blocks.1.0.in_layers.0.weight_",
        "conditioner.embedders.2.model.text_projection",
        "first_stage_model.decoder.conv_extra.weight",
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
        "v_pred",
        "edm_vpred.sigma_max",
    ],
)
def test_a_tensor_that_is_unknown_is_an_error_that_names_it(key: str) -> None:
    shapes = ldm_checkpoint.checkpoint(ldm_checkpoint.TINY) | {key: (1,)}

    with pytest.raises(CheckpointError, match=f"^{key}: in the file, but no part of SDXL"):
        place_tensors(shapes, needed_names("tiny"), layers_per_block=1)


@pytest.mark.parametrize(
    "key",
    [
        "model.diffusion_model.out.2.bias",
        "conditioner.embedders.0.transformer.text_model.final_layer_norm.bias",
        "conditioner.embedders.1.model.text_projection",
        "first_stage_model.decoder.mid.attn_1.q.weight",
    ],
)
def test_a_tensor_that_is_missing_is_an_error_that_names_it(key: str) -> None:
    shapes = ldm_checkpoint.checkpoint(ldm_checkpoint.TINY)
    del shapes[key]

    with pytest.raises(CheckpointError, match=f"^{key}: missing"):
        place_tensors(shapes, needed_names("tiny"), layers_per_block=1)


@pytest.mark.parametrize("part", ["unet", "clip_g"])
def test_a_name_that_no_sdxl_network_has_is_refused(part: str) -> None:
    with pytest.raises(ValueError, match=r"decoder\.weight"):
        place_tensors([], {part: ["decoder.weight"]}, layers_per_block=2)


def test_the_tiny_networks_fit_together() -> None:
    widths = int(str(TINY["clip_l"]["hidden_size"])) + int(str(TINY["clip_g"]["hidden_size"]))
    network: Network = ldm_checkpoint.TINY

    assert TINY["unet"]["cross_attention_dim"] == widths == network.context
    assert TINY["unet"]["projection_class_embeddings_input_dim"] == 6 * 8 + 32
