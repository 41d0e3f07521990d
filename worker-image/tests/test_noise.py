import itertools
import math
import sys

import numpy as np
import pytest
import torch

from worker.noise import BrownianNoise, GaussianNoise, NoiseKind, PhiloxStream, check_noise, make_noise
from worker.schedule import make_sigmas

CPU = torch.device("cpu")
SHAPE = (4, 16, 24)
SIGMAS = make_sigmas("Karras", 20)
INTERVALS = list(itertools.pairwise(SIGMAS[:-1].tolist()))


def all_draws(kind: NoiseKind, seeds: list[int]) -> torch.Tensor:
    """Start and all 19 steps of a run: [20, B, 4, h, w]."""
    noise = make_noise(kind, seeds, SHAPE, CPU, SIGMAS)
    return torch.stack([noise.start(), *(noise.step(*interval) for interval in INTERVALS)])


# torch.randn on CUDA, seed 0, as recorded by the stock web UI's emulation of it.
def test_seed_0_starts_with_the_numbers_that_cuda_draws() -> None:
    recorded = [-0.92466259, -0.42534415, -2.6438457, 0.14518388]
    assert PhiloxStream(0).draw(4).tolist() == pytest.approx(recorded, abs=2e-7)
    start = GaussianNoise([0], (4, 8, 8), CPU).start()
    assert start.shape == (1, 4, 8, 8)
    assert start.dtype == torch.float32
    assert start.flatten()[:4].tolist() == pytest.approx(recorded, abs=2e-7)


def scalar_philox_normal(seed: int, call: int, index: int) -> float:
    """One number of the stream, written anew with Python's whole numbers."""
    counter = [call, 0, index, 0]
    key = [seed % 2**32, seed // 2**32]
    for _ in range(10):
        high_0, low_0 = divmod(0xD2511F53 * counter[0], 2**32)
        high_1, low_1 = divmod(0xCD9E8D57 * counter[2], 2**32)
        counter = [high_1 ^ counter[1] ^ key[0], low_1, high_0 ^ counter[3] ^ key[1], low_0]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    first, second = ((word + 0.5) / 2**32 for word in counter[:2])
    return math.sqrt(-2 * math.log(first)) * math.sin(2 * math.pi * second)


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**32 - 1, 2**40 + 7])
def test_the_call_number_is_word_0_and_the_element_word_2_of_the_counter(seed: int) -> None:
    stream = PhiloxStream(seed)
    for call in range(3):
        expected = [scalar_philox_normal(seed, call, index) for index in range(8)]
        assert stream.draw(8).tolist() == pytest.approx(expected, abs=1e-6)


def test_steps_go_on_where_the_start_left_the_stream() -> None:
    stream = PhiloxStream(5)
    expected = [stream.draw(math.prod(SHAPE)).reshape(SHAPE) for _ in range(3)]
    noise = GaussianNoise([5], SHAPE, CPU)
    drawn = [noise.start(), noise.step(14.6, 11.7), noise.step(11.7, 9.3)]
    for ours, theirs in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(ours[0].numpy(), theirs)


@pytest.mark.parametrize("kind", ["gaussian", "brownian"])
def test_the_same_seed_draws_the_same_numbers(kind: NoiseKind) -> None:
    assert torch.equal(all_draws(kind, [7]), all_draws(kind, [7]))


@pytest.mark.parametrize("kind", ["gaussian", "brownian"])
def test_another_seed_draws_other_numbers(kind: NoiseKind) -> None:
    draws = all_draws(kind, [7, 8])
    for draw in draws:
        assert not torch.equal(draw[0], draw[1])


@pytest.mark.parametrize("kind", ["gaussian", "brownian"])
def test_a_batch_of_two_equals_two_singles(kind: NoiseKind) -> None:
    batch = all_draws(kind, [7, 8])
    assert torch.equal(batch[:, :1], all_draws(kind, [7]))
    assert torch.equal(batch[:, 1:], all_draws(kind, [8]))


@pytest.mark.parametrize("kind", ["gaussian", "brownian"])
def test_every_draw_is_standard_normal_and_unlike_the_others(kind: NoiseKind) -> None:
    draws = make_noise(kind, [3], (4, 64, 64), CPU, SIGMAS)
    taken = [draws.start(), *(draws.step(*interval) for interval in INTERVALS)]
    count = 4 * 64 * 64
    for draw in taken:
        # Five standard errors: 1/sqrt(n) of the mean, 1/sqrt(2n) of the standard deviation.
        assert abs(float(draw.mean())) < 5 / math.sqrt(count)
        assert abs(float(draw.std()) - 1) < 5 / math.sqrt(2 * count)
    flat = torch.stack(taken).flatten(1)
    correlations = flat @ flat.T / count - torch.eye(len(taken)) * flat.square().mean(1)
    assert float(correlations.abs().max()) < 5.5 / math.sqrt(count)


def test_brownian_steps_are_negated_increments_over_the_root_of_their_length() -> None:
    import torchsde

    tree = torchsde.BrownianTree(
        t0=float(SIGMAS[-2]), w0=torch.zeros(SHAPE), t1=float(SIGMAS[0]), entropy=7, tol=1e-6
    )
    noise = BrownianNoise([7], SHAPE, CPU, SIGMAS)
    for high, low in INTERVALS:
        # A little inside the ends, of which the tree warns because it rounds them.
        top, bottom = min(high, 14.614641), max(low, 0.029167)
        expected = -tree(bottom, top) / math.sqrt(high - low)
        torch.testing.assert_close(noise.step(high, low)[0], expected, rtol=0, atol=1e-6)


def test_brownian_steps_do_not_depend_on_the_order_of_the_queries() -> None:
    forth = BrownianNoise([7], SHAPE, CPU, SIGMAS)
    back = BrownianNoise([7], SHAPE, CPU, SIGMAS)
    queried_back = [back.step(*interval) for interval in reversed(INTERVALS)]
    for interval, draw in zip(INTERVALS, reversed(queried_back), strict=True):
        torch.testing.assert_close(forth.step(*interval), draw, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scheduler", ["Karras", "Exponential", "Normal", "SGM Uniform"])
@pytest.mark.parametrize("steps", [1, 2, 3, 20, 100])
def test_the_brownian_path_covers_every_interval_of_a_run(scheduler: str, steps: int) -> None:
    sigmas = make_sigmas(scheduler, steps)
    noise = BrownianNoise([7], (4, 2, 2), CPU, sigmas)
    for interval in itertools.pairwise(sigmas[:-1].tolist()):
        assert bool(noise.step(*interval).isfinite().all())


def test_brownian_runs_start_with_the_gaussian_noise_of_the_seed() -> None:
    brownian = BrownianNoise([7], SHAPE, CPU, SIGMAS)
    assert torch.equal(brownian.start(), GaussianNoise([7], SHAPE, CPU).start())


def test_brownian_noise_without_torchsde_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchsde", None)
    with pytest.raises(ValueError, match="NOISE=brownian needs the package torchsde"):
        check_noise("brownian")
    with pytest.raises(ValueError, match="set NOISE=gaussian"):
        make_noise("brownian", [1], SHAPE, CPU, SIGMAS)


def test_gaussian_noise_works_without_torchsde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchsde", None)
    check_noise("gaussian")
    assert make_noise("gaussian", [1], SHAPE, CPU, SIGMAS).start().shape == (1, *SHAPE)


def test_brownian_noise_is_accepted_where_torchsde_is_installed() -> None:
    check_noise("brownian")


@pytest.mark.gpu
def test_cuda_draws_equal_the_emulated_ones() -> None:
    shape = (4, 128, 128)
    device = torch.device("cuda")
    on_gpu, emulated = GaussianNoise([0, 12345], shape, device), GaussianNoise([0, 12345], shape, CPU)
    torch.testing.assert_close(on_gpu.start().cpu(), emulated.start(), rtol=0, atol=1e-5)
    torch.testing.assert_close(on_gpu.step(2, 1).cpu(), emulated.step(2, 1), rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["gaussian", "brownian"])
def test_cuda_steps_do_not_wait_for_the_device(kind: NoiseKind) -> None:
    noise = make_noise(kind, [1, 2], SHAPE, torch.device("cuda"), SIGMAS)
    noise.start()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for interval in INTERVALS:
            noise.step(*interval)
    finally:
        torch.cuda.set_sync_debug_mode("default")
