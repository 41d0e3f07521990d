"""Where random numbers come from: the start of each image, and what the stochastic samplers add at each step.

Each image has streams of its own, keyed by its seed alone, so a picture does not depend on what it is batched
with.

Order of draws, per image: `start` takes the first draw of the seed's Gaussian stream, one value an element of
[4, h, w] in row-major order. Each `step` takes the next draw of that stream (`GaussianNoise`) or an increment
of the seed's Brownian path, which the order of the queries does not change (`BrownianNoise`).
"""

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from worker.settings import SettingsError

NoiseKind = Literal["gaussian", "brownian"]
Shape = tuple[int, int, int]
"""Of one image's latent: (4, height / 8, width / 8)."""

BROWNIAN_TOLERANCE_DIGITS = 6
"""Decimal places of sigma to which a Brownian path is resolved: tol 1e-6, the default of torchsde's tree."""


class NoiseSource(Protocol):
    """Standard normal noise for a batch, float32 [B, 4, h, w] on the run's device. `start` is first."""

    def start(self) -> torch.Tensor:
        """Return the noise that, times the first sigma, is the sampler's first state."""

    def step(self, sigma: float, sigma_next: float) -> torch.Tensor:
        """Return the noise of the step down from `sigma` to `sigma_next`, which is above 0."""


def make_noise(
    kind: NoiseKind, seeds: Sequence[int], shape: Shape, device: torch.device, sigmas: torch.Tensor
) -> NoiseSource:
    """Return the noise of one run, one image for each of `seeds` (whole numbers from 0, below 2^64).

    "gaussian" and "brownian" are equal in distribution, because a run's intervals of sigma do not overlap.
    A picture of the stock product can come back only with "brownian" where the sampler is "DPM++ 2M SDE", and
    only with "gaussian" where it is "Euler a". `sigmas` is what `make_sigmas` returns.

    Raises:
        SettingsError: see `check_noise`.
    """
    if kind == "brownian":
        return BrownianNoise(seeds, shape, device, sigmas)
    return GaussianNoise(seeds, shape, device)


def check_noise(kind: NoiseKind) -> None:
    """Fail when noise of this kind cannot be made here; for the process's start, before it takes a job.

    Raises:
        SettingsError: "brownian" without the optional package torchsde.
    """
    if kind == "brownian":
        _import_torchsde()


class GaussianNoise:
    """Independent draws, `start` and then each `step`, from one generator an image.

    On CUDA the generator is CUDA's own and the draws are made there, without waiting for the device.
    Elsewhere the same numbers come from `PhiloxStream`, so that a seed means the same picture wherever it is
    drawn.
    """

    def __init__(self, seeds: Sequence[int], shape: Shape, device: torch.device) -> None:
        open_stream = _cuda_stream if device.type == "cuda" else _emulated_stream
        self._streams = [open_stream(seed, shape, device) for seed in seeds]

    def start(self) -> torch.Tensor:
        """Return the first draw of every image's stream."""
        return self._draw()

    def step(self, sigma: float, sigma_next: float) -> torch.Tensor:
        """Return the next draw of every image's stream, whatever the interval."""
        return self._draw()

    def _draw(self) -> torch.Tensor:
        return torch.stack([draw() for draw in self._streams])


class BrownianNoise:
    """Normalised increments of one Brownian path an image over the run's range of sigma; a Gaussian start.

    Source: k-diffusion `BrownianTreeNoiseSampler`, as stable-diffusion-webui-forge sets it up: entropy is the
    image's seed, the path spans the smallest positive sigma to the largest, and for the step from hi down to
    lo xi = -(W(hi) - W(lo)) / sqrt(hi - lo).

    On CUDA a path's nodes are drawn by CUDA generators, as in the product; equal pixels are expected there
    but have not been compared. On a CPU torchsde draws from the CPU's generators: the same distribution,
    other pictures.

    A run of 20 steps draws about a thousand nodes. They are drawn as the steps ask for them, because on a GPU
    that work of the host then hides behind the UNet calls already queued.

    Raises:
        SettingsError: torchsde is not installed.
    """

    def __init__(
        self, seeds: Sequence[int], shape: Shape, device: torch.device, sigmas: torch.Tensor
    ) -> None:
        torchsde = _import_torchsde()
        levels: list[float] = [sigma for sigma in sigmas.tolist() if sigma > 0]
        self._gaussian = GaussianNoise(seeds, shape, device)
        self._paths: list[Callable[[float, float], torch.Tensor]] = [
            torchsde.BrownianTree(
                t0=_path_time(min(levels)),
                w0=torch.zeros(shape, dtype=torch.float32, device=device),
                t1=_path_time(max(levels)),
                entropy=seed,
                tol=10.0**-BROWNIAN_TOLERANCE_DIGITS,
            )
            for seed in seeds
        ]

    def start(self) -> torch.Tensor:
        """Return the first draw of every image's Gaussian stream."""
        return self._gaussian.start()

    def step(self, sigma: float, sigma_next: float) -> torch.Tensor:
        """Return the increment from `sigma_next` up to `sigma`, negated, over the root of its length."""
        low, high = _path_time(sigma_next), _path_time(sigma)
        increments = torch.stack([path(low, high) for path in self._paths])
        return increments / -math.sqrt(sigma - sigma_next)


class PhiloxStream:
    """The numbers that `torch.randn` draws on CUDA, made with numpy.

    Philox 4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011): the key is the seed,
    word 0 of the counter the number of draws before this one, word 2 the element's index. The first two words
    of the output give the sine branch of Box-Muller, as in cuRAND's `curand_normal4`.

    Computed in float64 and rounded, where CUDA computes in float32: the recorded start of seed 0 comes out to
    2e-7. The streams are the same only while one kernel grid covers the tensor, that is, by the kernel's
    launch bounds, up to 1,536 or 2,048 elements for each of the GPU's multiprocessors.
    """

    _MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
    _KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
    _ROUNDS = 10
    _WORD = 0xFFFFFFFF

    def __init__(self, seed: int) -> None:
        self._key = (seed & self._WORD, seed >> 32)
        self._draws = 0

    def draw(self, count: int) -> NDArray[np.float32]:
        """Return the next draw: float32 [count], standard normal."""
        first, second = self._random_words(count)
        radius = np.sqrt(-2.0 * np.log(_between_0_and_1(first)))
        normal = radius * np.sin(2 * math.pi * _between_0_and_1(second))
        self._draws += 1
        return normal.astype(np.float32)

    def _random_words(self, count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return the first two output words of `count` counters, each a 32-bit number in a 64-bit place."""
        word, shift = np.uint64(self._WORD), np.uint64(32)
        words = [np.zeros(count, dtype=np.uint64) for _ in range(4)]
        words[0] += np.uint64(self._draws)
        words[2] += np.arange(count, dtype=np.uint64)
        for number in range(self._ROUNDS):
            low_key, high_key = (
                np.uint64((key + number * step) & self._WORD)
                for key, step in zip(self._key, self._KEY_STEPS, strict=True)
            )
            products = words[0] * self._MULTIPLIERS[0], words[2] * self._MULTIPLIERS[1]
            words = [
                (products[1] >> shift) ^ words[1] ^ low_key,
                products[1] & word,
                (products[0] >> shift) ^ words[3] ^ high_key,
                products[0] & word,
            ]
        return words[0], words[1]


def _between_0_and_1(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Map 32-bit words to the middles of 2^32 equal parts of 0..1, as cuRAND does: never 0."""
    return (words.astype(np.float64) + 0.5) / 2.0**32


def _cuda_stream(seed: int, shape: Shape, device: torch.device) -> Callable[[], torch.Tensor]:
    generator = torch.Generator(device).manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator, device=device, dtype=torch.float32)


def _emulated_stream(seed: int, shape: Shape, device: torch.device) -> Callable[[], torch.Tensor]:
    stream = PhiloxStream(seed)
    return lambda: torch.from_numpy(stream.draw(math.prod(shape))).reshape(shape).to(device)


def _path_time(sigma: float) -> float:
    """Return a level's place on a path: torchsde rounds its ends so, and warns of queries beyond them."""
    return round(sigma, BROWNIAN_TOLERANCE_DIGITS)


def _import_torchsde() -> ModuleType:
    try:
        import torchsde
    except ModuleNotFoundError as error:
        raise SettingsError(
            "NOISE=brownian needs the package torchsde, which is missing; install it or set NOISE=gaussian"
        ) from error
    module: ModuleType = torchsde
    return module
