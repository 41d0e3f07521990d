import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from worker.errors import WorkerError
from worker.latent import LATENT_SCALE
from worker.vae import VaeDecoder, quantise

CONFIGURATION = {
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [32] * 4,
    "layers_per_block": 1,
    "norm_num_groups": 8,
}


@pytest.fixture(scope="module")
def autoencoder() -> AutoencoderKL:
    torch.manual_seed(4)
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4, latent_channels=4, **CONFIGURATION
    ).eval()


@pytest.fixture(scope="module")
def decoder_half(autoencoder: AutoencoderKL) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = autoencoder.state_dict()
    return {
        name: tensor for name, tensor in tensors.items() if name.startswith(("decoder.", "post_quant_conv."))
    }


@pytest.fixture
def vae(decoder_half: dict[str, Tensor]) -> VaeDecoder:
    module = VaeDecoder(**CONFIGURATION)  # type: ignore[arg-type]  # as from JSON
    module.load_state_dict({name: tensor.clone() for name, tensor in decoder_half.items()}, strict=True)
    return module.eval().requires_grad_(False)


def latents(count: int = 2) -> Tensor:
    return torch.randn((count, 4, 8, 16), generator=torch.Generator().manual_seed(6)) * LATENT_SCALE


def test_by_default_it_has_the_tensors_of_sdxls_vae_decoder() -> None:
    with torch.device("meta"):
        published = AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            block_out_channels=[128, 256, 512, 512],
            layers_per_block=2,
            latent_channels=4,
        )
        ours = VaeDecoder()
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == {
        name: tensor.shape
        for name, tensor in published.state_dict().items()
        if name.startswith(("decoder.", "post_quant_conv."))
    }


def test_the_decoder_half_of_diffusers_file_loads_strictly(
    vae: VaeDecoder, decoder_half: dict[str, Tensor]
) -> None:
    assert set(vae.state_dict()) == set(decoder_half)
    short = {name: tensor for name, tensor in decoder_half.items() if name != "post_quant_conv.bias"}
    with pytest.raises(RuntimeError, match=r"post_quant_conv\.bias"):
        vae.load_state_dict(short, strict=True)


def test_decoding_equals_diffusers_quantised_to_eight_bits(
    autoencoder: AutoencoderKL, vae: VaeDecoder
) -> None:
    latent = latents()
    with torch.no_grad():
        published = autoencoder.decode(latent / LATENT_SCALE).sample
    pixels = vae.decode(latent)
    assert pixels.shape == (2, 3, 64, 128)
    assert pixels.dtype == torch.float32
    levels = pixels * 255
    assert torch.equal(levels.round(), (levels.round() / 255 * 255).round())
    assert (levels - levels.round()).abs().max() < 1e-4
    # Truncation: at most one level below the exact value, never above it.
    below = ((published + 1) / 2).clamp(0, 1) * 255 - levels
    assert below.min() > -1e-3
    assert below.max() < 1 + 1e-3
    assert below.mean() > 0.3
    assert pixels.std() > 0.01


def test_pictures_are_decoded_alike_alone_and_together(vae: VaeDecoder) -> None:
    together = vae.decode(latents())
    alone = torch.cat([vae.decode(latent[None]) for latent in latents()])
    # A batched convolution may sum in another order, which can move a value over an edge by one level.
    assert (together - alone).abs().max() <= 1 / 255 + 1e-6
    assert (together != alone).float().mean() < 1e-3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-0.5, 0),
        (0.0, 0),
        (0.999 / 255, 0),
        (1.001 / 255, 1),
        (0.5, 127),
        (0.999, 254),
        (1.0, 255),
        (1.5, 255),
    ],
)
def test_values_are_clamped_and_truncated(value: float, expected: int) -> None:
    assert quantise(torch.tensor([value])).tolist() == [pytest.approx(expected / 255)]


def test_all_levels_survive_the_way_to_eight_bits() -> None:
    levels = torch.arange(256) / 255
    assert torch.equal((quantise(levels) * 255).round().int(), torch.arange(256, dtype=torch.int32))


def overflow_in(module: nn.Module, dtypes: set[torch.dtype], seen: list[torch.dtype]) -> None:
    """Make `module` return an infinity in one place when it works in one of `dtypes`."""

    def hook(_: nn.Module, __: object, output: Tensor) -> Tensor:
        seen.append(output.dtype)
        if output.dtype in dtypes:
            output[0, 0, 0, 0] = torch.inf
        return output

    module.register_forward_hook(hook)


def test_what_overflows_in_a_small_dtype_is_decoded_once_more_in_float32(vae: VaeDecoder) -> None:
    expected = vae.decode(latents())
    vae.to(torch.bfloat16)
    seen: list[torch.dtype] = []
    overflow_in(vae.decoder.conv_in, {torch.bfloat16}, seen)
    pixels = vae.decode(latents())
    assert seen == [torch.bfloat16, torch.float32]
    # The weights were rounded to bfloat16, the arithmetic was not.
    assert (pixels - expected).abs().mean() < 0.01
    assert {parameter.dtype for parameter in vae.parameters()} == {torch.bfloat16}


class ReadingBack(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Counts how often a tensor's value is read, for which a GPU would have to be waited for."""

    count = 0

    def __torch_dispatch__(
        self,
        function: object,
        _: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        self.count += function is torch.ops.aten._local_scalar_dense.default
        assert callable(function)
        return function(*args, **(kwargs or {}))


def test_the_device_is_waited_for_once(vae: VaeDecoder) -> None:
    with ReadingBack() as reading:  # type: ignore[no-untyped-call]  # as above
        vae.decode(latents(1))
    assert reading.count == 1


def test_decoding_twice_works_in_inference_mode(vae: VaeDecoder) -> None:
    overflow_in(vae.to(torch.bfloat16).decoder.conv_in, {torch.bfloat16}, [])
    with torch.inference_mode():
        assert vae.decode(latents(1)).isfinite().all()


def test_what_does_not_overflow_is_decoded_once(vae: VaeDecoder) -> None:
    seen: list[torch.dtype] = []
    overflow_in(vae.to(torch.bfloat16).decoder.conv_in, set(), seen)
    assert vae.decode(latents()).dtype == torch.float32
    assert seen == [torch.bfloat16]


@pytest.mark.parametrize(
    ("dtype", "passes"),
    [(torch.bfloat16, [torch.bfloat16, torch.float32]), (torch.float32, [torch.float32])],
)
def test_what_overflows_in_float32_is_an_error(
    vae: VaeDecoder, dtype: torch.dtype, passes: list[torch.dtype]
) -> None:
    seen: list[torch.dtype] = []
    overflow_in(vae.to(dtype).decoder.conv_in, {torch.bfloat16, torch.float32}, seen)
    with pytest.raises(WorkerError, match="overflowed") as caught:
        vae.decode(latents())
    assert caught.value.code == "nan_latents"
    assert seen == passes
