"""The peer: diffusers' own StableDiffusionXLPipeline on the worker's very weights, without transparency."""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionXLPipeline
from transformers import CLIPTokenizer

from worker.latent import LATENT_SCALE
from worker.pipeline import Pipeline
from worker.tokenizer import make_vocabulary, read_merges


def plain_pipeline(
    pipeline: Pipeline, options: argparse.Namespace, prompt: str, negative_prompt: str
) -> Callable[[int], object]:
    """Return a function of a seed that draws one picture with plain diffusers, to a PIL image.

    The same scheduler (sde-dpmsolver++ on Karras sigmas), step count, size, guidance and dtype; the VAE in
    the UNet's dtype, as with the fp16-safe weights. Each seed has a prompt of its own.
    """
    models = pipeline.models
    parameter = next(models.unet.parameters())
    config: dict[str, Any] = dict(models.manifest.parts["vae_decoder"].config)
    levels = len(config["block_out_channels"])
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(config["block_out_channels"]),
        layers_per_block=config["layers_per_block"],
        norm_num_groups=config["norm_num_groups"],
        scaling_factor=LATENT_SCALE,
        force_upcast=False,
    ).to(parameter.device, parameter.dtype)
    vae.decoder.load_state_dict(models.vae.decoder.state_dict())
    vae.post_quant_conv.load_state_dict(models.vae.post_quant_conv.state_dict())
    merges = read_merges()
    tokenizer, second = (
        CLIPTokenizer(vocab=make_vocabulary(merges), merges=merges, pad_token=padding, model_max_length=77)
        for padding in ("<|endoftext|>", "!")
    )
    peer = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=models.clip_l,
        text_encoder_2=models.clip_g,
        tokenizer=tokenizer,
        tokenizer_2=second,
        unet=models.unet,
        scheduler=DPMSolverMultistepScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            algorithm_type="sde-dpmsolver++",
            use_karras_sigmas=True,
            timestep_spacing="leading",
            steps_offset=1,
        ),
        add_watermarker=False,
    )
    peer.set_progress_bar_config(disable=True)

    def draw(seed: int) -> object:
        generator = torch.Generator(parameter.device).manual_seed(seed)
        return peer(
            f"{prompt}, {seed}",
            negative_prompt=negative_prompt,
            num_inference_steps=options.steps,
            guidance_scale=5.0,
            width=options.pixels,
            height=options.pixels,
            generator=generator,
        ).images[0]

    return draw
