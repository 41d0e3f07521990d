import time
from pathlib import Path

import pytest
import torch

from model_build.random_model import main, write_random_model
from worker.alpha_decoder import decode_alpha, to_rgba8
from worker.manifest import PART_NAMES, read_manifest
from worker.weights import load_models


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    assert main(["--size", "tiny", "--to", str(directory), "--lora", "style"]) == 0
    return directory


def test_the_command_writes_a_directory_that_the_worker_loads(tiny: Path) -> None:
    models = load_models(tiny, torch.device("cpu"))

    assert models.manifest.checkpoint.name == "random-tiny"
    assert models.manifest.dtype == "float32"
    assert next(models.unet.parameters()).dtype == torch.float32
    assert list(models.manifest.loras) == ["style"]


def test_the_tiny_networks_have_few_parameters_beside_their_vocabularies(tiny: Path) -> None:
    models = load_models(tiny, torch.device("cpu"))

    networks = (models.unet, models.clip_l, models.clip_g, models.vae, models.alpha_decoder)
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert sum(counts) - 2 * 49_408 * 32 < 1_500_000


def test_equal_seeds_give_equal_files_and_another_seed_others(tiny: Path, tmp_path: Path) -> None:
    write_random_model(tmp_path / "same", "tiny", loras=["style"])
    write_random_model(tmp_path / "other", "tiny", seed=1)

    first, same, other = (read_manifest(path) for path in (tiny, tmp_path / "same", tmp_path / "other"))
    assert same.parts == first.parts
    assert same.loras == first.loras
    for name in PART_NAMES:
        assert other.parts[name].weights.sha256 != first.parts[name].weights.sha256


def test_a_tiny_model_is_made_within_seconds_once_the_libraries_are_loaded(
    tiny: Path, tmp_path: Path
) -> None:
    started_s = time.process_time()
    write_random_model(tmp_path, "tiny")

    assert time.process_time() - started_s < 5.0


def test_the_files_have_the_dtype_that_is_asked_for(tmp_path: Path) -> None:
    assert main(["--size", "tiny", "--to", str(tmp_path), "--dtype", "float16"]) == 0

    models = load_models(tmp_path, torch.device("cpu"))
    assert models.manifest.dtype == "float16"
    assert {parameter.dtype for parameter in models.clip_g.parameters()} == {torch.float16}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_alpha_is_on_both_sides_of_its_limits_and_between_them(tiny: Path, seed: int) -> None:
    models = load_models(tiny, torch.device("cpu"))
    latent = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(seed))

    with torch.inference_mode():
        pixels = models.vae.decode(latent)
        alpha = to_rgba8(decode_alpha(models.alpha_decoder, pixels, latent, batch=8))[..., 3]

    shares = [float(part.float().mean()) for part in (alpha < 5, (alpha >= 5) & (alpha < 250), alpha >= 250)]
    assert all(share > 0.05 for share in shares), shares


@pytest.mark.parametrize("arguments", [["--size", "small"], ["--dtype", "int8"], ["--device", "tpu"]])
def test_unknown_choices_are_wrong_arguments(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--size", "tiny", "--to", str(tmp_path), *arguments])
    assert exit_.value.code == 2
