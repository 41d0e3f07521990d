"""The decoding half of SDXL's VAE: from a sampled latent to 8-bit colours."""

from collections.abc import Sequence

import torch
from diffusers.models.autoencoders.vae import Decoder
from torch import Tensor, nn
from torch.func import functional_call

from worker.errors import WorkerError
from worker.latent import LATENT_SCALE


class VaeDecoder(nn.Module):
    """The `decoder` and `post_quant_conv` of diffusers' `AutoencoderKL`, with its tensor names.

    Args: those of diffusers' `Decoder`, SDXL's by default.
    """

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 3,
        up_block_types: Sequence[str] = ("UpDecoderBlock2D",) * 4,
        block_out_channels: Sequence[int] = (128, 256, 512, 512),
        layers_per_block: int = 2,
        norm_num_groups: int = 32,
        act_fn: str = "silu",
    ) -> None:
        super().__init__()
        self.post_quant_conv = nn.Conv2d(in_channels, in_channels, 1)
        self.decoder = Decoder(
            in_channels=in_channels,
            out_channels=out_channels,
            up_block_types=tuple(up_block_types),
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            norm_num_groups=norm_num_groups,
            act_fn=act_fn,
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Decode a latent in the VAE's scale and dtype, [B, 4, H/8, W/8], to [B, 3, H, W] of about -1..1."""
        decoded: Tensor = self.decoder(self.post_quant_conv(latent))
        return decoded

    def decode(self, latent: Tensor) -> Tensor:
        """Return the colours that an 8-bit picture of the latent would hold.

        Values are truncated to k/255, not rounded: the transparent decoder is given a picture that went
        through `uint8` in the web UI that LayerDiffuse was written for. SDXL's VAE of 2023 overflows in
        float16 (the corrected sdxl-vae-fp16-fix does not), so a result that is not finite is decoded once
        more in float32; that check is the one wait for the device.

        Args:
            latent: [B, 4, H/8, W/8], any float dtype, finite, scaled (as the UNet sees it).

        Returns:
            float32 [B, 3, H, W] in 0..1: red, green, blue.

        Raises:
            WorkerError: `nan_latents`, when float32 overflows too.
        """
        latent = latent.float() / LATENT_SCALE
        dtype = self.post_quant_conv.weight.dtype
        decoded: Tensor = self(latent.to(dtype))
        finite = _is_finite(decoded)
        if not finite and dtype != torch.float32:
            # Other tensors for this one call: the module itself stays as it is, whatever happens here.
            weights = {name: parameter.float() for name, parameter in self.named_parameters()}
            decoded = functional_call(self, weights, (latent,))
            finite = _is_finite(decoded)
        if not finite:
            raise WorkerError(
                "nan_latents",
                "the picture overflowed when decoded; try another seed, fewer LoRAs or a lower cfg_scale",
            )
        return quantise((decoded.float() + 1.0) / 2.0)


def quantise(pixels: Tensor) -> Tensor:
    """Clamp to 0..1 and truncate to k/255, what `uint8` keeps of 255 times the value. float32, any shape."""
    return (pixels.clamp(0.0, 1.0) * 255.0).floor_() / 255.0


def _is_finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())
