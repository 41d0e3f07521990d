"""From a request to RGBA pixels: the stages in their order. Source of the recipe: README.md, "The recipe"."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from worker.alpha_decoder import decode_alpha, decoder_batch_for, to_rgba8
from worker.denoiser import Denoiser
from worker.errors import WorkerError
from worker.latent import LATENT_CHANNELS, LATENT_FACTOR, LATENT_SCALE
from worker.loras import LoraSet
from worker.noise import check_noise, make_noise
from worker.request import GenerateRequest, Installed
from worker.sampler import sample
from worker.schedule import make_sigmas, make_timesteps
from worker.settings import Settings
from worker.text import Conditioning, TextEncoder
from worker.tokenizer import load_tokenizer
from worker.weights import Models, load_models, resolve_model_directory

OnStep = Callable[[int, int], None]
"""Called with (steps done, steps in all); may raise to stop the job."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A picture before it is a file."""

    pixels: NDArray[np.uint8]
    """uint8 [H, W, 4]: red, green, blue, straight (not premultiplied) alpha; colour under alpha 0 kept."""
    model_name: str
    model_hash: str
    """First ten hex digits of the checkpoint's sha256."""
    timings_s: dict[str, float] = field(default_factory=dict)
    """Seconds per phase: text, steps, vae, alpha."""


class Pipeline:
    """The models on their device, and the one way through them. Not for two threads at once."""

    def __init__(self, models: Models, settings: Settings, device: torch.device) -> None:
        self.models = models
        self._settings = settings
        self._device = device
        self._dtype = next(models.unet.parameters()).dtype
        self.text = TextEncoder(load_tokenizer(), models.clip_l, models.clip_g)
        self._loras = LoraSet(models)
        checkpoint = models.manifest.checkpoint
        self._model_name = checkpoint.name
        self._model_hash = checkpoint.sha256[:10]
        self.installed = Installed(
            checkpoint=checkpoint.name,
            checkpoint_aliases=tuple(checkpoint.aliases),
            loras=tuple(models.manifest.loras),
        )

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Read the model directory that the settings name onto the device.

        Raises:
            WorkerError: `weights_invalid`, when a file is missing, short, or not what the manifest says.
            SettingsError: when the settings ask for a package that is not installed.
        """
        check_noise(settings.noise)
        device = choose_device(settings.device)
        # CPUs compute float16 slowly, or by way of float32 anyway.
        dtype = torch.float32 if device.type == "cpu" else None
        models = load_models(resolve_model_directory(settings), device, dtype)
        if device.type == "cuda":
            for module in (models.unet, models.vae, models.alpha_decoder):
                nn.utils.convert_conv2d_weight_memory_format(module, torch.channels_last)
        if settings.compile == "blocks":
            # The repeated blocks alone: most of the gain for a tenth of the compile time (diffusers'
            # documentation, "Regional compilation").
            # All blocks share one code object: two widths, batches of 1 and 2, sizes and contexts. Beyond the
            # limit, 8 by default, a job of another kind would fail rather than be compiled.
            # Imported here: it takes time that only this setting needs.
            from torch._dynamo import config as dynamo

            dynamo.recompile_limit = 64
            models.unet.compile_repeated_blocks(fullgraph=True)
        return cls(models, settings, device)

    def warm_up(self) -> None:
        """Draw a two-step picture, so that no job pays for kernel selection and compilation."""
        if self._settings.warm_up_size == 0:
            return
        self.render(
            GenerateRequest(
                prompt="warm-up",
                prompt_text="warm-up",
                negative_prompt="bad, ugly",
                seed=0,
                steps=2,
                cfg_scale=5.0,
                width=self._settings.warm_up_size,
                height=self._settings.warm_up_size,
                sampler="DPM++ 2M SDE",
                scheduler="Karras",
                preset="general",
                loras=(),
                encoding="url",
            ),
            lambda done, of: None,
        )

    @torch.inference_mode()
    def render(self, request: GenerateRequest, on_step: OnStep) -> Rendered:
        """Draw one picture.

        Args:
            request: a checked request; its LoRAs are installed.
            on_step: called after each step, at most one step before the device has done it.

        Raises:
            WorkerError: `nan_latents`, when the numbers overflowed; `too_long`, when a prompt's words make
                too many chunks.
            Exception: whatever `on_step` raised, and what the device raised.
        """
        timings: dict[str, float] = {}
        with self._phase(timings, "text"):
            if self._loras.apply(request.loras):
                self.text.clear_cache()
            positive = self.text.encode(request.prompt_text)
            negative = self.text.encode_negative(request.negative_prompt)

        with self._phase(timings, "steps"):
            latent = self.sample_latents(request, [request.seed], positive, negative, on_step)
            if not bool(torch.isfinite(latent).all()):
                raise WorkerError(
                    "nan_latents",
                    "the picture's numbers overflowed; try another seed, fewer LoRAs or a lower cfg_scale",
                )

        with self._phase(timings, "vae"):
            pixels = self.models.vae.decode(latent)

        with self._phase(timings, "alpha"):
            decoded = decode_alpha(
                self.models.alpha_decoder,
                pixels.to(self._dtype),
                self._decoder_latent(latent).to(self._dtype),
                batch=self._decoder_batch(request.height, request.width),
            )
            if not bool(torch.isfinite(decoded).all()):
                raise WorkerError("nan_latents", "the picture's transparency overflowed; try another seed")
            rgba = to_rgba8(decoded)[0].cpu().numpy()
        return Rendered(rgba, self._model_name, self._model_hash, timings)

    def sample_latents(
        self,
        request: GenerateRequest,
        seeds: list[int],
        positive: Conditioning,
        negative: Conditioning,
        on_step: OnStep,
    ) -> torch.Tensor:
        """Return one request's sampled latent for each seed.

        Returns:
            float32 [B, 4, H/8, W/8], scaled: as the UNet sees it.
        """
        sigmas = make_sigmas(request.scheduler, request.steps)
        shape = (LATENT_CHANNELS, request.height // LATENT_FACTOR, request.width // LATENT_FACTOR)
        # The web UI draws from a Brownian tree for this sampler alone, plain noise for the others.
        kind = self._settings.noise if request.sampler == "DPM++ 2M SDE" else "gaussian"
        noise = make_noise(kind, seeds, shape, self._device, sigmas)
        denoise = Denoiser(
            self.models.unet,
            positive,
            negative,
            request.cfg_scale,
            sigmas,
            make_timesteps(sigmas),
            request.width,
            request.height,
            self._dtype,
        )
        return sample(
            request.sampler,
            denoise,
            noise.start() * float(sigmas[0]),
            sigmas,
            noise,
            paced(on_step, request.steps, self._device),
        )

    def _decoder_latent(self, latent: torch.Tensor) -> torch.Tensor:
        """Return the latent in the convention that the transparent decoder is given (see README.md)."""
        return latent if self._settings.latent_convention == "scaled" else latent / LATENT_SCALE

    def _decoder_batch(self, height: int, width: int) -> int:
        if self._settings.decoder_batch != "auto":
            return self._settings.decoder_batch
        if self._device.type != "cuda":
            # One by one is faster on a CPU, whose caches hold less: 0.43 s against 0.57 s for eight at once
            # (bench.run, 256x256, tiny weights, two cores).
            return 1
        return decoder_batch_for(free_bytes(self._device), height, width)

    @contextmanager
    def _phase(self, timings: dict[str, float], name: str) -> Iterator[None]:
        """Time a phase to the end of the device's work for it."""
        start = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        timings[name] = time.perf_counter() - start


def paced(on_step: OnStep, steps: int, device: torch.device) -> Callable[[int], None]:
    """Hold the host to at most one step ahead of a CUDA device.

    Kernels are launched ahead of the device, so without this a job would report, and could be stopped at,
    steps that the device has yet to begin. Waiting for the step before leaves the device's queue filled.
    """
    if device.type != "cuda":
        return lambda done: on_step(done, steps)
    previous: list[torch.cuda.Event] = []

    def step(done: int) -> None:
        event = torch.cuda.Event()  # type: ignore[no-untyped-call] # torch has no types here
        event.record()
        if previous:
            previous.pop().synchronize()
        previous.append(event)
        on_step(done, steps)

    return step


def choose_device(name: str) -> torch.device:
    """Return the device that a `DEVICE` setting means: auto is CUDA where there is one.

    Raises:
        WorkerError: `not_ready`, when CUDA is asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise WorkerError("not_ready", "DEVICE=cuda, but this machine shows no CUDA device")
    return torch.device(name)


def free_bytes(device: torch.device) -> int:
    """Return how much memory of a CUDA device a decoder batch may take."""
    free, _ = torch.cuda.mem_get_info(device)
    # What the allocator holds without use is ours as well.
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
