import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_blocks import (
    AttnDownBlock2D,
    AttnUpBlock2D,
    DownBlock2D,
    UNetMidBlock2D,
    UpBlock2D,
)
from torch import Tensor, nn

from worker.alpha_decoder import (
    SIDEWAYS,
    UPRIGHT,
    Variant,
    decode_alpha,
    decoder_batch_for,
    fourth_smallest_,
    to_rgba8,
)
from worker.transparent_decoder import TransparentDecoder

RELEASED = json.loads((Path(__file__).parent / "transparent_decoder_keys.json").read_text())
TINY = {"channels": (8, 8, 16, 16, 16, 16, 16), "layers_per_block": 1, "norm_groups": 4}
GIB = 1024**3


class ReferenceDecoder(nn.Module):
    """The published architecture, from diffusers' blocks: `UNet1024` of lllyasviel/sd-forge-layerdiffuse."""

    def __init__(self, channels: tuple[int, ...], layers_per_block: int, norm_groups: int) -> None:
        super().__init__()
        common = {"temb_channels": None, "resnet_eps": 1e-5, "resnet_act_fn": "silu"}
        self.conv_in = nn.Conv2d(3, channels[0], kernel_size=3, padding=1)
        self.latent_conv_in = nn.Conv2d(4, channels[2], kernel_size=1)
        self.down_blocks = nn.ModuleList()
        for level in range(7):
            last = level == 6
            arguments = {
                "num_layers": layers_per_block,
                "in_channels": channels[max(0, level - 1)],
                "out_channels": channels[level],
                "resnet_groups": norm_groups,
                "downsample_padding": 1,
                **common,
            }
            self.down_blocks.append(
                AttnDownBlock2D(**arguments, attention_head_dim=8, downsample_type=None if last else "conv")
                if level >= 4
                else DownBlock2D(**arguments, add_downsample=not last)
            )
        self.mid_block = UNetMidBlock2D(
            in_channels=channels[-1], attention_head_dim=8, resnet_groups=norm_groups, **common
        )
        self.resnets_up = layers_per_block + 1
        self.up_blocks = nn.ModuleList()
        widths = channels[::-1]
        for index in range(7):
            last = index == 6
            arguments = {
                "num_layers": self.resnets_up,
                "in_channels": widths[min(index + 1, 6)],
                "out_channels": widths[index],
                "prev_output_channel": widths[max(0, index - 1)],
                "resnet_groups": norm_groups,
                **common,
            }
            self.up_blocks.append(
                AttnUpBlock2D(**arguments, attention_head_dim=8, upsample_type=None if last else "conv")
                if index < 3
                else UpBlock2D(**arguments, add_upsample=not last)
            )
        self.conv_norm_out = nn.GroupNorm(norm_groups, channels[0], eps=1e-5)
        self.conv_out = nn.Conv2d(channels[0], 4, kernel_size=3, padding=1)

    def forward(self, pixels: Tensor, latent: Tensor) -> Tensor:
        sample = self.conv_in(pixels)
        skips: tuple[Tensor, ...] = (sample,)
        for level, block in enumerate(self.down_blocks):
            if level == 3:
                sample = sample + self.latent_conv_in(latent)
            sample, more = block(hidden_states=sample, temb=None)
            skips += more
        sample = self.mid_block(sample, None)
        for block in self.up_blocks:
            count = self.resnets_up
            sample = block(hidden_states=sample, res_hidden_states_tuple=skips[-count:], temb=None)
            skips = skips[:-count]
        assert skips == ()
        result: Tensor = self.conv_out(nn.functional.silu(self.conv_norm_out(sample)))
        return result


def randomised(module: nn.Module, seed: int) -> nn.Module:
    """Give every tensor random values, norms and biases too, so that each one matters."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        with torch.no_grad():
            if parameter.ndim > 1:
                parameter.copy_(values / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(values * 0.1 + ("norm" in name and name.endswith("weight")))
    return module.eval()


def inputs(count: int, height: int, width: int, seed: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand((count, 3, height, width), generator=generator)
    return pixels, torch.randn((count, 4, height // 8, width // 8), generator=generator)


@pytest.fixture(scope="module")
def tiny() -> TransparentDecoder:
    network = TransparentDecoder(**TINY)  # type: ignore[arg-type]  # one table for both networks
    randomised(network, seed=1)
    return network


def test_the_tensors_have_the_names_and_shapes_of_the_released_file() -> None:
    with torch.device("meta"):
        network = TransparentDecoder()
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes == RELEASED["keys"]
    assert len(shapes) == RELEASED["tensors"]
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == RELEASED["parameters"]


def test_a_file_of_the_released_shapes_loads_strictly() -> None:
    with torch.device("meta"):
        network = TransparentDecoder()
        file = {name: torch.empty(shape, dtype=torch.float16) for name, shape in RELEASED["keys"].items()}
    assert not any(network.load_state_dict(file, strict=True, assign=True))
    del file["up_blocks.6.resnets.2.conv_shortcut.bias"]
    with pytest.raises(RuntimeError, match=r"up_blocks\.6\.resnets\.2\.conv_shortcut\.bias"):
        network.load_state_dict(file, strict=True, assign=True)


@pytest.mark.parametrize(
    ("channels", "layers_per_block", "norm_groups", "size"),
    [
        ((8, 8, 16, 16, 16, 16, 16), 1, 4, (128, 192)),
        ((8, 16, 24, 32, 40, 48, 64), 2, 4, (128, 64)),
        ((32, 32, 64, 128, 256, 512, 512), 2, 4, (64, 64)),
    ],
    ids=["tiny", "every width another", "released"],
)
def test_the_network_equals_one_of_diffusers_blocks(
    channels: tuple[int, ...], layers_per_block: int, norm_groups: int, size: tuple[int, int]
) -> None:
    with torch.device("meta"):
        reference: nn.Module = ReferenceDecoder(channels, layers_per_block, norm_groups)
        network = TransparentDecoder(channels, layers_per_block, norm_groups)
    reference = randomised(reference.to_empty(device="cpu"), seed=2)
    network.load_state_dict(reference.state_dict(), strict=True, assign=True)
    pixels, latent = inputs(2, *size)
    with torch.no_grad():
        expected = reference(pixels, latent)
        difference = (network(pixels, latent) - expected).abs().max()
        without_latent = (network(pixels, torch.zeros_like(latent)) - expected).abs().max()
    assert difference < 1e-5
    assert expected.std() > 0.1
    assert without_latent > 0.01


def test_the_layout_in_memory_does_not_change_the_result(tiny: TransparentDecoder) -> None:
    pixels, latent = inputs(1, 64, 128)
    network = TransparentDecoder(**TINY)  # type: ignore[arg-type]  # one table for both networks
    network.load_state_dict(tiny.state_dict())
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    difference = decode_alpha(network, pixels, latent, batch=4) - decode_alpha(tiny, pixels, latent, batch=4)
    assert difference.abs().max() < 1e-5


def test_the_network_works_in_a_small_dtype(tiny: TransparentDecoder) -> None:
    pixels, latent = inputs(1, 64, 64)
    network = TransparentDecoder(**TINY)  # type: ignore[arg-type]  # one table for both networks
    network.load_state_dict(tiny.state_dict())
    expected = decode_alpha(tiny, pixels, latent, batch=8)
    small = decode_alpha(network.bfloat16(), pixels.bfloat16(), latent.bfloat16(), batch=8)
    assert small.dtype == torch.bfloat16
    assert (small.float() - expected).abs().mean() < 0.05


def test_the_number_of_levels_is_fixed() -> None:
    with pytest.raises(ValueError, match="7 levels, but channels holds 6"):
        TransparentDecoder(channels=(8, 8, 16, 16, 16, 16))


@pytest.mark.parametrize("variant", UPRIGHT + SIDEWAYS)
def test_each_variant_is_undone_by_its_inverse(variant: Variant) -> None:
    image = torch.arange(4 * 6 * 10).reshape(4, 6, 10)
    applied = variant.apply(image)
    assert applied.shape == ((4, 6, 10) if variant in UPRIGHT else (4, 10, 6))
    assert torch.equal(variant.undo(applied), image)


def test_the_eight_variants_differ() -> None:
    image = torch.arange(9).reshape(1, 3, 3)
    assert len({tuple(variant.apply(image).flatten().tolist()) for variant in UPRIGHT + SIDEWAYS}) == 8


def test_the_mirror_comes_before_the_turn() -> None:
    image = torch.tensor([[[1, 2], [3, 4]]])
    assert Variant(True, 1).apply(image).tolist() == [[[1, 3], [2, 4]]]


def test_the_median_is_the_fourth_smallest_of_every_order_of_zeros_and_ones() -> None:
    # A comparison network that is right for zeros and ones is right for all numbers (Knuth, volume 3, 5.3.4).
    values = torch.tensor(list(itertools.product((0.0, 1.0), repeat=8))).T.contiguous()
    assert torch.equal(fourth_smallest_(values.clone()), values.sort(dim=0).values[3])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_median_is_that_of_torch(dtype: torch.dtype) -> None:
    values = torch.rand((8, 4, 16, 24), generator=torch.Generator().manual_seed(3)).to(dtype)
    expected = values.median(dim=0).values
    assert torch.equal(values.kthvalue(4, dim=0).values, expected)
    assert torch.equal(fourth_smallest_(values), expected)


@pytest.mark.parametrize("place", range(8))
def test_one_value_that_is_no_number_makes_the_median_none(place: int) -> None:
    values = torch.rand((8, 2))
    values[place, 0] = torch.nan
    assert fourth_smallest_(values).isnan().tolist() == [True, False]


def literal_decode(network: nn.Module, pixels: Tensor, latent: Tensor) -> Tensor:
    """The eight passes one after the other, with torch's median."""
    results = []
    for mirrored in (False, True):
        for turns in range(4):
            turned_pixels, turned_latent = (
                torch.rot90(torch.flip(image, (3,)) if mirrored else image, turns, (2, 3))
                for image in (pixels, latent)
            )
            result = torch.rot90(network(turned_pixels, turned_latent).clip(0, 1), -turns, (2, 3))
            results.append(torch.flip(result, (3,)) if mirrored else result)
    return torch.stack(results).median(dim=0).values


@pytest.mark.parametrize("size", [(64, 64), (64, 128), (192, 64)])
def test_decoding_in_batches_equals_eight_single_passes(
    tiny: TransparentDecoder, size: tuple[int, int]
) -> None:
    pixels, latent = inputs(1, *size)
    with torch.no_grad():
        expected = literal_decode(tiny, pixels, latent)
    for batch in (8, 4, 2, 1):
        decoded = decode_alpha(tiny, pixels, latent, batch=batch)
        assert decoded.shape == (1, 4, *size)
        assert (decoded - expected).abs().max() < 1e-5
        assert 0 <= decoded.min() < decoded.max() <= 1
        assert not decoded.requires_grad


def test_a_picture_is_decoded_alike_alone_and_beside_another(tiny: TransparentDecoder) -> None:
    pixels, latent = inputs(2, 64, 128)
    together = decode_alpha(tiny, pixels, latent, batch=4)
    for image in range(2):
        alone = decode_alpha(tiny, pixels[image : image + 1], latent[image : image + 1], batch=4)
        assert torch.equal(together[image : image + 1], alone)


def test_a_symmetric_network_gives_back_its_clipped_picture() -> None:
    pixels, latent = inputs(1, 64, 128)
    decoded = decode_alpha(lambda p, _: torch.cat((p[:, :1], p), 1) * 3 - 1, pixels, latent, batch=4)
    assert torch.equal(decoded, (torch.cat((pixels[:, :1], pixels), 1) * 3 - 1).clip(0, 1))


@pytest.mark.parametrize(
    ("size", "batch", "expected"),
    [
        ((64, 64), 8, [(8, 64, 64)]),
        ((64, 64), 4, [(4, 64, 64)] * 2),
        ((64, 64), 1, [(1, 64, 64)] * 8),
        ((64, 128), 8, [(4, 64, 128), (4, 128, 64)]),
        ((64, 128), 4, [(4, 64, 128), (4, 128, 64)]),
        ((64, 128), 2, [(2, 64, 128)] * 2 + [(2, 128, 64)] * 2),
        ((64, 128), 1, [(1, 64, 128)] * 4 + [(1, 128, 64)] * 4),
    ],
)
def test_a_call_holds_as_many_variants_of_one_shape_as_asked_for(
    size: tuple[int, int], batch: int, expected: list[tuple[int, int, int]]
) -> None:
    calls: list[tuple[int, int, int]] = []
    decode_alpha(recording(calls), *inputs(1, *size), batch=batch)
    assert calls == expected


def recording(calls: list[tuple[int, int, int]]) -> Callable[[Tensor, Tensor], Tensor]:
    def network(pixels: Tensor, latent: Tensor) -> Tensor:
        count, _, height, width = pixels.shape
        assert latent.shape == (count, 4, height // 8, width // 8)
        calls.append((count, height, width))
        return torch.zeros((count, 4, height, width))

    return network


@pytest.mark.parametrize("batch", [0, 3, 16, -1])
def test_another_batch_is_refused(batch: int) -> None:
    with pytest.raises(ValueError, match=f"one of 8, 4, 2, 1, but is {batch}"):
        decode_alpha(recording([]), *inputs(1, 64, 64), batch=batch)


@pytest.mark.parametrize(("height", "width"), [(96, 128), (128, 96), (32, 64), (72, 64)])
def test_a_size_that_cannot_be_halved_six_times_is_refused_by_name(
    tiny: TransparentDecoder, height: int, width: int
) -> None:
    pixels, latent = inputs(1, height, width)
    for decode in (lambda: tiny(pixels, latent), lambda: decode_alpha(tiny, pixels, latent, batch=8)):
        with pytest.raises(ValueError, match=f"multiples of 64, but got {width}x{height} pixels"):
            decode()


def test_a_latent_of_another_picture_is_refused(tiny: TransparentDecoder) -> None:
    pixels, latent = inputs(2, 64, 128)
    with pytest.raises(
        ValueError, match="pictures of 128x64 pixels need 2 latents of 16x8, but got 2 of 8x8"
    ):
        tiny(pixels, latent[..., :8])
    with pytest.raises(ValueError, match="but got 1 of 16x8"):
        decode_alpha(tiny, pixels, latent[:1], batch=8)


@pytest.mark.parametrize(
    ("free_bytes", "height", "width", "expected"),
    [
        (80 * GIB, 1024, 1024, 8),
        (6 * GIB, 1024, 1024, 8),
        (6 * GIB - 1, 1024, 1024, 4),
        (3 * GIB, 1024, 1024, 4),
        (3 * GIB - 1, 1024, 1024, 2),
        (3 * GIB // 2, 1024, 1024, 2),
        (3 * GIB // 2 - 1, 1024, 1024, 1),
        (0, 1024, 1024, 1),
        (6 * GIB, 2048, 1024, 4),
        (12 * GIB, 2048, 1024, 8),
        (3 * GIB // 2, 512, 512, 8),
        (3 * GIB // 2 - 1, 512, 512, 4),
    ],
)
def test_the_batch_follows_free_memory_and_size(
    free_bytes: int, height: int, width: int, expected: int
) -> None:
    assert decoder_batch_for(free_bytes, height, width) == expected


def test_pixels_are_truncated_with_alpha_last() -> None:
    # alpha, red, green, blue; 0.999 * 255 = 254.7
    decoded = torch.tensor([0.5, 0.0, 0.999, 1.0]).reshape(1, 4, 1, 1)
    assert to_rgba8(decoded).tolist() == [[[[0, 254, 255, 127]]]]


def test_colour_under_alpha_zero_stays() -> None:
    decoded = torch.tensor([0.0, 0.2, 0.4, 0.6]).reshape(1, 4, 1, 1)
    assert to_rgba8(decoded).tolist() == [[[[51, 102, 153, 0]]]]


def test_values_outside_are_clipped() -> None:
    decoded = torch.tensor([1.5, -0.5, 1.0001, 0.0]).reshape(1, 4, 1, 1)
    assert to_rgba8(decoded).tolist() == [[[[0, 255, 0, 255]]]]


def test_float16_is_multiplied_in_float16() -> None:
    values = torch.linspace(0, 1, 4096).half().reshape(1, 4, 32, 32)
    expected = (values * 255.0).float().numpy().clip(0, 255).astype("uint8")
    assert (to_rgba8(values).permute(0, 3, 1, 2).roll(1, 1).numpy() == expected).all()


def test_pixels_are_rows_of_contiguous_rgba() -> None:
    pixels = to_rgba8(torch.rand((2, 4, 64, 128)))
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (2, 64, 128, 4)
    assert pixels.is_contiguous()


def test_the_network_needs_no_diffusers() -> None:
    code = "import sys, worker.alpha_decoder; sys.exit('diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
