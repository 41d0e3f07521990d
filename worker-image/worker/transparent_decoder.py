"""The network of LayerDiffuse's transparent decoder.

Source of the architecture: LayerDiffuse, lllyasviel/sd-forge-layerdiffuse, `lib_layerdiffusion/models.py`
(`UNet1024`). The network here is plain torch with the tensor names of the released file
`vae_transparent_decoder.safetensors`; it computes what diffusers' `DownBlock2D`, `AttnDownBlock2D`,
`UNetMidBlock2D`, `AttnUpBlock2D` and `UpBlock2D` compute without a time embedding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.latent import LATENT_FACTOR

LEVELS = 7
"""Resolutions of the network, each half the one before."""
SIZE_MULTIPLE = 2 ** (LEVELS - 1)
"""What width and height are a multiple of, in pixels: they are halved six times."""
INJECTION_LEVEL = 3
"""The level at the latent's resolution: a picture halved three times is an eighth of its size."""
HEAD_CHANNELS = 8
NORM_EPSILON = 1e-5


class _Resnet(nn.Module):
    """Two normalised 3x3 convolutions beside a shortcut. [B, C, H, W] -> [B, C', H, W]."""

    def __init__(self, channels_in: int, channels_out: int, norm_groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(norm_groups, channels_in, eps=NORM_EPSILON)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(norm_groups, channels_out, eps=NORM_EPSILON)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else None

    def forward(self, sample: Tensor) -> Tensor:
        # In place where nobody else holds the tensor: at full size each copy is 512 MiB for eight variants.
        change: Tensor = self.conv1(functional.silu(self.norm1(sample), inplace=True))
        change = self.conv2(functional.silu(self.norm2(change), inplace=True))
        return change.add_(sample if self.conv_shortcut is None else self.conv_shortcut(sample))


class _Attention(nn.Module):
    """Self-attention over all positions, added to its input. [B, C, H, W] -> the same."""

    def __init__(self, channels: int, norm_groups: int) -> None:
        super().__init__()
        self.heads = channels // HEAD_CHANNELS
        self.group_norm = nn.GroupNorm(norm_groups, channels, eps=NORM_EPSILON)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, sample: Tensor) -> Tensor:
        positions: Tensor = self.group_norm(sample).flatten(2).transpose(1, 2)
        attended = functional.scaled_dot_product_attention(
            self._split(self.to_q(positions)),
            self._split(self.to_k(positions)),
            self._split(self.to_v(positions)),
        )
        change: Tensor = self.to_out(attended.transpose(1, 2).flatten(2))
        return sample + change.transpose(1, 2).reshape(sample.shape)

    def _split(self, positions: Tensor) -> Tensor:
        """[B, N, C] -> [B, heads, N, C / heads]."""
        return positions.view(*positions.shape[:2], self.heads, HEAD_CHANNELS).transpose(1, 2)


class _Convolution(nn.Module):
    """Holds the convolution of a change of resolution, for its name in the file alone."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1)

    def forward(self, sample: Tensor) -> Tensor:
        resized: Tensor = self.conv(sample)
        return resized


class _Block(nn.Module):
    """One level of one half of the network: resnets, with attention after each on the deep levels."""

    def __init__(
        self, channels_in: Sequence[int], channels_out: int, norm_groups: int, *, attention: bool
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(_Resnet(channels, channels_out, norm_groups) for channels in channels_in)
        self.attentions = nn.ModuleList(
            _Attention(channels_out, norm_groups) for _ in channels_in if attention
        )

    def layer(self, index: int, sample: Tensor) -> Tensor:
        sample = self.resnets[index](sample)
        if self.attentions:
            sample = self.attentions[index](sample)
        return sample


class _DownBlock(_Block):
    """[B, C, H, W] -> [B, C', H/2, W/2], or the same size on the last level; adds every result to `skips`."""

    def __init__(
        self,
        channels_in: Sequence[int],
        channels_out: int,
        norm_groups: int,
        *,
        attention: bool,
        halves: bool,
    ) -> None:
        super().__init__(channels_in, channels_out, norm_groups, attention=attention)
        self.downsamplers = nn.ModuleList([_Convolution(channels_out, stride=2)] if halves else [])

    def forward(self, sample: Tensor, skips: list[Tensor]) -> Tensor:
        for index in range(len(self.resnets)):
            sample = self.layer(index, sample)
            skips.append(sample)
        for downsampler in self.downsamplers:
            sample = downsampler(sample)
            skips.append(sample)
        return sample


class _MiddleBlock(nn.Module):
    """Resnet, attention, resnet at the lowest resolution."""

    def __init__(self, channels: int, norm_groups: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(_Resnet(channels, channels, norm_groups) for _ in range(2))
        self.attentions = nn.ModuleList([_Attention(channels, norm_groups)])

    def forward(self, sample: Tensor) -> Tensor:
        for module in (self.resnets[0], self.attentions[0], self.resnets[1]):
            sample = module(sample)
        return sample


class _UpBlock(_Block):
    """[B, C, H, W] -> [B, C', 2H, 2W], or the same size on the last level; takes `skips` from the end."""

    def __init__(
        self,
        channels_in: Sequence[int],
        channels_out: int,
        norm_groups: int,
        *,
        attention: bool,
        doubles: bool,
    ) -> None:
        super().__init__(channels_in, channels_out, norm_groups, attention=attention)
        self.upsamplers = nn.ModuleList([_Convolution(channels_out, stride=1)] if doubles else [])

    def forward(self, sample: Tensor, skips: list[Tensor]) -> Tensor:
        for index in range(len(self.resnets)):
            # In two statements: so neither the skip nor the sample before outlives the concatenation.
            sample = torch.cat((sample, skips.pop()), dim=1)
            sample = self.layer(index, sample)
        for upsampler in self.upsamplers:
            sample = upsampler(functional.interpolate(sample, scale_factor=2.0, mode="nearest"))
        return sample


class TransparentDecoder(nn.Module):
    """The network `UNet1024` of LayerDiffuse, 104,104,804 parameters at its released size (the defaults).

    Args:
        channels: width of each of the seven levels; a multiple of `norm_groups`, and of 8 with attention.
        layers_per_block: resnets per level on the way down; one more on the way up.
        norm_groups: groups of every group norm.
        latent_channels: channels of the latent.
        attention_from: the first level with self-attention.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 32, 64, 128, 256, 512, 512),
        layers_per_block: int = 2,
        norm_groups: int = 4,
        latent_channels: int = 4,
        attention_from: int = 4,
    ) -> None:
        super().__init__()
        if len(channels) != LEVELS:
            raise ValueError(
                f"the transparent decoder has {LEVELS} levels, but channels holds {len(channels)}"
            )
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1)
        self.latent_conv_in = nn.Conv2d(latent_channels, channels[INJECTION_LEVEL - 1], 1)

        skips = [channels[0]]
        self.down_blocks = nn.ModuleList()
        for level, width in enumerate(channels):
            halves = level < LEVELS - 1
            inputs = [channels[max(level - 1, 0)]] + [width] * (layers_per_block - 1)
            self.down_blocks.append(
                _DownBlock(inputs, width, norm_groups, attention=level >= attention_from, halves=halves)
            )
            skips += [width] * (layers_per_block + halves)

        self.mid_block = _MiddleBlock(channels[-1], norm_groups)

        self.up_blocks = nn.ModuleList()
        below = channels[-1]
        for level in reversed(range(LEVELS)):
            width = channels[level]
            inputs = [running + skips.pop() for running in [below] + [width] * layers_per_block]
            self.up_blocks.append(
                _UpBlock(inputs, width, norm_groups, attention=level >= attention_from, doubles=level > 0)
            )
            below = width

        self.conv_norm_out = nn.GroupNorm(norm_groups, channels[0], eps=NORM_EPSILON)
        self.conv_out = nn.Conv2d(channels[0], 4, 3, padding=1)

    def forward(self, pixels: Tensor, latent: Tensor) -> Tensor:
        """Decode once.

        Args:
            pixels: [B, 3, H, W], red, green, blue in 0..1, in the network's dtype; H and W multiples of 64.
            latent: [B, 4, H/8, W/8], in the network's dtype.

        Returns:
            [B, 4, H, W]: alpha, red, green, blue; about 0..1, not clipped.

        Raises:
            ValueError: for sizes that do not fit.
        """
        check_sizes(pixels, latent)
        sample: Tensor = self.conv_in(pixels)
        skips = [sample]
        for level, block in enumerate(self.down_blocks):
            if level == INJECTION_LEVEL:
                # A new tensor: the sum goes on alone, while the last skip stays without the latent.
                sample = sample + self.latent_conv_in(latent)
            sample = block(sample, skips)
        sample = self.mid_block(sample)
        for block in self.up_blocks:
            sample = block(sample, skips)
        sample = functional.silu(self.conv_norm_out(sample), inplace=True)
        decoded: Tensor = self.conv_out(sample)
        return decoded


def check_sizes(pixels: Tensor, latent: Tensor) -> None:
    """Refuse sizes that the network cannot halve six times, and a latent of another picture.

    Raises:
        ValueError: naming the sizes.
    """
    height, width = pixels.shape[-2:]
    latent_height, latent_width = latent.shape[-2:]
    if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE:
        raise ValueError(
            f"the transparent decoder needs a width and a height that are multiples of {SIZE_MULTIPLE},"
            f" but got {width}x{height} pixels"
        )
    expected = (height // LATENT_FACTOR, width // LATENT_FACTOR)
    if (latent_height, latent_width) != expected or latent.shape[0] != pixels.shape[0]:
        raise ValueError(
            f"{pixels.shape[0]} pictures of {width}x{height} pixels need {pixels.shape[0]} latents of"
            f" {expected[1]}x{expected[0]}, but got {latent.shape[0]} of {latent_width}x{latent_height}"
        )
