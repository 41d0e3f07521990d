import functools
import json
import math

import pytest
import torch

from model_build.configs import ATTENTION_RANKS, SIZES
from model_build.lora_merge import LoraError, attention_weights, merge_pair, place_pairs
from tests import ldm_checkpoint
from tests.ldm_checkpoint import Shapes
from worker.weights import build_part

TINY_RANK = ATTENTION_RANKS["tiny"]


@functools.cache
def unet_shapes(size: str) -> Shapes:
    state = build_part("unet", SIZES[size]["unet"]).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


@functools.cache
def published_lora() -> Shapes:
    """The header of the published file, made by the rule."""
    return ldm_checkpoint.attention_lora(ldm_checkpoint.SDXL, 256)


def tiny_lora() -> Shapes:
    return ldm_checkpoint.attention_lora(ldm_checkpoint.TINY, TINY_RANK)


def place_tiny(lora: Shapes) -> None:
    place_pairs(lora, unet_shapes("tiny"), layers_per_block=1, rank=TINY_RANK)


def test_the_rule_gives_the_published_file_to_the_byte() -> None:
    lora = published_lora()
    entries = {}
    end = 0
    for key in sorted(lora):
        begin, end = end, end + 2 * math.prod(lora[key])
        entries[key] = {"dtype": "F16", "shape": list(lora[key]), "data_offsets": [begin, end]}
    header = len(json.dumps(entries, separators=(",", ":")))

    assert len(lora) == 1120
    assert end == 743_178_240
    assert 8 + header + (-header % 8) + end == 743_352_688


def test_the_560_pairs_change_560_different_weights_of_the_true_unet() -> None:
    pairs = place_pairs(published_lora(), unet_shapes("full"), layers_per_block=2, rank=256)

    assert len(pairs) == 560
    assert set(pairs) == set(attention_weights(unet_shapes("full")))
    assert {key for pair in pairs.values() for key in (pair.up, pair.down)} == set(published_lora())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("input_blocks.4.1", "down_blocks.1.attentions.0"),
        ("input_blocks.5.1", "down_blocks.1.attentions.1"),
        ("input_blocks.8.1", "down_blocks.2.attentions.1"),
        ("middle_block.1", "mid_block.attentions.0"),
        ("output_blocks.0.1", "up_blocks.0.attentions.0"),
        ("output_blocks.5.1", "up_blocks.1.attentions.2"),
    ],
)
def test_old_places_become_diffusers_places(old: str, new: str) -> None:
    pairs = place_pairs(published_lora(), unet_shapes("full"), layers_per_block=2, rank=256)

    for inner in ("transformer_blocks.0.attn1.to_q", "transformer_blocks.1.attn2.to_out.0"):
        pair = pairs[f"{new}.{inner}.weight"]
        assert pair.up == f"diffusion_model.{old}.{inner}.weight::lora::0"
        assert pair.down == f"diffusion_model.{old}.{inner}.weight::lora::1"


def test_a_missing_half_of_a_pair_is_an_error_that_names_it() -> None:
    lora = tiny_lora()
    key = next(iter(lora))
    del lora[key]

    with pytest.raises(LoraError, match=f"^{key}: missing"):
        place_tiny(lora)


def test_a_missing_pair_is_an_error() -> None:
    lora = {key: shape for key, shape in tiny_lora().items() if "middle_block.1" not in key}

    with pytest.raises(LoraError, match=r"middle_block\.1.*: missing"):
        place_tiny(lora)


@pytest.mark.parametrize(
    "key",
    [
        "diffusion_model.input_blocks.1.0.in_layers.2.weight::lora::0",
        "diffusion_model.input_blocks.9.1.transformer_blocks.0.attn1.to_q.weight::lora::1",
        "diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q.weight::lora::2",
        "diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q.weight::diff::0",
        "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight",
    ],
)
def test_an_extra_tensor_is_an_error_that_names_it(key: str) -> None:
    with pytest.raises(LoraError, match=f"^{key}: "):
        place_tiny(tiny_lora() | {key: (64, TINY_RANK)})


@pytest.mark.parametrize("change", [(0, 1), (1, 0), (1, 1)])
def test_another_rank_or_shape_is_an_error_with_both_shapes(change: tuple[int, int]) -> None:
    lora = tiny_lora()
    key = next(iter(lora))
    expected = lora[key]
    lora[key] = (expected[0] + change[0], expected[1] + change[1])

    with pytest.raises(LoraError, match=r"expected the shape \[\d+, \d+\], found \[\d+, \d+\]"):
        place_tiny(lora)


def test_another_rank_throughout_is_an_error() -> None:
    with pytest.raises(LoraError, match="expected the shape"):
        place_tiny(ldm_checkpoint.attention_lora(ldm_checkpoint.TINY, TINY_RANK * 2))


def test_a_merged_weight_is_the_sum_in_float32_cast_back_once() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn((6, 5), generator=generator).half()
    up = torch.randn((6, 3), generator=generator).half()
    down = torch.randn((3, 5), generator=generator).half()

    merged = merge_pair(weight, up, down)

    exact = weight.double() + up.double() @ down.double()
    assert merged.dtype == torch.float16
    assert torch.equal(merged, exact.float().half())
    assert torch.equal(merge_pair(weight.float(), up, down), weight.float() + up.float() @ down.float())
