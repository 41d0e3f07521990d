"""Facts about SDXL's latents."""

from typing import Final

LATENT_CHANNELS: Final = 4

LATENT_FACTOR: Final = 8
"""Pixels of the picture to one place of its latent, each way."""

LATENT_SCALE: Final = 0.13025
"""What SDXL's VAE latents are multiplied by for the UNet (`scaling_factor` in the VAE's configuration)."""
