"""From the VAE's picture and the latent to colour with alpha: eight orientations, the median of each value.

Source of the eight-fold decoding: LayerDiffuse, lllyasviel/sd-forge-layerdiffuse,
`lib_layerdiffusion/models.py` (`TransparentVAEDecoder`).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from worker.transparent_decoder import check_sizes


class Variant(NamedTuple):
    """One of the eight ways to lay a rectangle on itself or on its side."""

    mirrored: bool
    """Flipped on the width, before the turn."""
    quarter_turns: int
    """Turns of `torch.rot90` on (height, width)."""

    def apply(self, image: Tensor) -> Tensor:
        """[..., H, W] -> [..., H, W], or [..., W, H] for an odd number of turns."""
        return torch.rot90(image.flip(-1) if self.mirrored else image, self.quarter_turns, (-2, -1))

    def undo(self, image: Tensor) -> Tensor:
        """Restore what `apply` was given."""
        image = torch.rot90(image, -self.quarter_turns, (-2, -1))
        return image.flip(-1) if self.mirrored else image


UPRIGHT = tuple(Variant(mirrored, turns) for mirrored in (False, True) for turns in (0, 2))
SIDEWAYS = tuple(Variant(mirrored, turns) for mirrored in (False, True) for turns in (1, 3))
BATCHES = (8, 4, 2, 1)
"""Variants per network call that can be asked for."""

_FREE_BYTES_PER_VARIANT = 6 * 1024**3 // 8
"""Free memory that a variant of 1024x1024 pixels is given in float16: 0.5 GiB of activations at the peak,
computed from the tensors that live at once, and half as much again for the convolutions' workspaces and the
results."""


def decoder_batch_for(free_bytes: int, height: int, width: int) -> int:
    """Return how many variants (8, 4, 2 or 1) of `height` x `width` pixels to decode at once in float16.

    The answer is 1 where even that may not fit: trying is better than refusing.
    """
    needed = _FREE_BYTES_PER_VARIANT * height * width / 1024**2
    return next((batch for batch in BATCHES if free_bytes >= batch * needed), 1)


def decode_alpha(
    network: Callable[[Tensor, Tensor], Tensor], pixels: Tensor, latent: Tensor, *, batch: int
) -> Tensor:
    """Decode each picture in all eight orientations, and take the lower median of each value.

    The result does not depend on `batch`, nor on what else is decoded, beyond rounding: a batched convolution
    may sum in another order. Values that are not numbers come out as such.

    Args:
        network: a `TransparentDecoder`.
        pixels: [B, 3, H, W], red, green, blue in 0..1 quantised to k/255, in the network's dtype.
        latent: [B, 4, H/8, W/8], in the network's dtype; scaled or not, as the network was trained.
        batch: most variants per network call, one of `BATCHES`. The upright and the sideways variants of a
            picture that is not square differ in shape, so at most four of those share a call.

    Returns:
        [B, 4, H, W]: alpha, red, green, blue in 0..1.

    Raises:
        ValueError: for another `batch`, and for sizes that do not fit.
    """
    if batch not in BATCHES:
        raise ValueError(f"batch must be one of {', '.join(map(str, BATCHES))}, but is {batch}")
    check_sizes(pixels, latent)
    count, _, height, width = pixels.shape
    groups = (UPRIGHT + SIDEWAYS,) if height == width else (UPRIGHT, SIDEWAYS)
    calls = [group[at : at + batch] for group in groups for at in range(0, len(group), batch)]
    with torch.no_grad():
        decoded = pixels.new_empty((count, 4, height, width))
        # One picture at a time, and one set of results for all: memory does not grow with their number.
        results = pixels.new_empty((len(UPRIGHT + SIDEWAYS), 4, height, width))
        for image in range(count):
            filled = 0
            for variants in calls:
                output = network(
                    torch.stack([variant.apply(pixels[image]) for variant in variants]),
                    torch.stack([variant.apply(latent[image]) for variant in variants]),
                ).clamp_(0.0, 1.0)
                for variant, oriented in zip(variants, output, strict=True):
                    results[filled] = variant.undo(oriented)
                    filled += 1
            decoded[image] = fourth_smallest_(results)
        return decoded


def fourth_smallest_(values: Tensor) -> Tensor:
    """Return the fourth smallest of eight along the first dimension, as `torch.median` does.

    `torch.median` and `kthvalue` also return an int64 index per value, and take three times as long: 0.55 and
    0.50 s against 0.17 s for 1024x1024 pixels (two CPU cores, torch 2.13). Here both halves are sorted by a
    five-comparator network, in place; the lower of each opposing pair are then the four smallest of all
    (Batcher's bitonic merge, 1968), whose largest is the answer. One value that is not a number makes the
    answer not a number.

    Args:
        values: [8, ...]; reordered.
    """
    halves = values.view(2, 4, *values.shape[1:])
    for low, high in ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)):
        smaller = torch.minimum(halves[:, low], halves[:, high])
        torch.maximum(halves[:, low], halves[:, high], out=halves[:, high])
        halves[:, low] = smaller
    return torch.minimum(halves[0], halves[1].flip(0)).amax(dim=0)


def to_rgba8(decoded: Tensor) -> Tensor:
    """Turn decoded values into 8-bit pixels, truncating as LayerDiffuse does, in the dtype that they come in.

    Straight (not premultiplied) alpha; colour under alpha 0 stays, since the network paints it smoothly and a
    viewer that interpolates needs it.

    Args:
        decoded: [B, 4, H, W]: alpha, red, green, blue in 0..1.

    Returns:
        uint8 [B, H, W, 4]: red, green, blue, alpha; on the same device.
    """
    scaled = (decoded * 255.0).clamp_(0.0, 255.0).to(torch.uint8)
    return scaled.roll(-1, dims=1).permute(0, 2, 3, 1).contiguous()
