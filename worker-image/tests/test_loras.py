import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from model_build.random_model import write_random_model
from worker import loras
from worker.errors import WorkerError
from worker.loras import LoraSet
from worker.manifest import MANIFEST_NAME
from worker.request import LoraUse
from worker.weights import Models, load_models

Tensors = dict[str, torch.Tensor]
Change = tuple[str, str]
"""A part and the name of a weight in it."""

TO_Q: Change = ("unet", "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight")
CONV: Change = ("unet", "down_blocks.0.resnets.0.conv1.weight")
TE1: Change = ("clip_l", "encoder.layers.0.self_attn.q_proj.weight")
TE2: Change = ("clip_g", "text_model.encoder.layers.2.mlp.fc1.weight")
PROJECTION: Change = ("clip_g", "text_projection.weight")
RANK = 3


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("base")
    write_random_model(directory, "tiny", loras=["random"])
    return directory


@pytest.fixture
def load(base: Path, tmp_path: Path) -> Callable[..., Models]:
    """Load the model with LoRA files of these tensors, by name."""

    def load(
        dtype: torch.dtype | None = None, metadata: dict[str, str] | None = None, **files: Tensors
    ) -> Models:
        directory = shutil.copytree(base, tmp_path / "model")
        manifest = json.loads((directory / MANIFEST_NAME).read_text())
        for name, tensors in files.items():
            path = directory / "loras" / f"{name}.safetensors"
            save_file(tensors, path, metadata)
            manifest["loras"][name] = {
                "file": f"loras/{name}.safetensors",
                "bytes": path.stat().st_size,
                "sha256": "0" * 64,
            }
        (directory / MANIFEST_NAME).write_text(json.dumps(manifest))
        return load_models(directory, torch.device("cpu"), dtype)

    return load


def network(models: Models, part: str) -> nn.Module:
    found = {"unet": models.unet, "clip_l": models.clip_l, "clip_g": models.clip_g}[part]
    assert isinstance(found, nn.Module)
    return found


def weight(models: Models, change: Change) -> torch.Tensor:
    return network(models, change[0]).get_parameter(change[1])


def everything(models: Models) -> dict[Change, torch.Tensor]:
    return {
        (part, name): tensor.clone()
        for part in ("unet", "clip_l", "clip_g")
        for name, tensor in network(models, part).state_dict().items()
    }


def changes(models: Models, before: dict[Change, torch.Tensor]) -> set[Change]:
    return {
        change for change, tensor in everything(models).items() if not torch.equal(tensor, before[change])
    }


def pair(outer: int, inner: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Up [outer, RANK] and down [RANK, inner]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((outer, RANK), generator=generator), torch.randn((RANK, inner), generator=generator)


@pytest.mark.parametrize(
    ("up_name", "down_name", "changed"),
    [
        pytest.param(f"{module}.{up}", f"{module}.{down}", change, id=f"{module}.{up}")
        for module, up, down, change in [
            *(
                (
                    f"lora_unet_{path}_transformer_blocks_0_attn1_to_q",
                    "lora_up.weight",
                    "lora_down.weight",
                    TO_Q,
                )
                for path in ("mid_block_attentions_0", "middle_block_1")
            ),
            *(
                (f"{path}.transformer_blocks.0.attn1.to_q", "lora_B.weight", "lora_A.weight", TO_Q)
                for path in ("unet.mid_block.attentions.0", "diffusion_model.middle_block.1")
            ),
            *(
                ("unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q", up, down, TO_Q)
                for up, down in (
                    ("lora_up.weight", "lora_down.weight"),
                    ("lora.up.weight", "lora.down.weight"),
                    ("lora_B.default.weight", "lora_A.default.weight"),
                )
            ),
            (
                "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
                "lora_up.weight",
                "lora_down.weight",
                TE1,
            ),
            (
                "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
                "lora_B.weight",
                "lora_A.weight",
                TE1,
            ),
            ("text_encoder.encoder.layers.0.self_attn.q_proj", "lora_B.weight", "lora_A.weight", TE1),
            ("lora_te2_text_model_encoder_layers_2_mlp_fc1", "lora_up.weight", "lora_down.weight", TE2),
            ("text_encoder_2.text_model.encoder.layers.2.mlp.fc1", "lora_B.weight", "lora_A.weight", TE2),
            ("lora_te2_text_projection", "lora_up.weight", "lora_down.weight", PROJECTION),
        ]
    ],
)
def test_each_format_changes_the_weight_that_it_names_and_no_other(
    load: Callable[..., Models], base: Path, up_name: str, down_name: str, changed: Change
) -> None:
    outer, inner = load_file(base / f"{changed[0]}.safetensors")[changed[1]].shape
    up, down = pair(outer, inner)
    models = load(style={up_name: up, down_name: down})
    before = everything(models)

    text_changed = LoraSet(models).apply([LoraUse("style", 0.5)])

    assert changes(models, before) == {changed}
    assert torch.allclose(weight(models, changed), before[changed] + 0.5 * up @ down, atol=1e-6)
    assert text_changed == (changed[0] != "unet")


def kohya(
    change: str = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q", seed: int = 0
) -> Tensors:
    up, down = pair(64, 64, seed)
    return {f"{change}.lora_up.weight": up, f"{change}.lora_down.weight": down}


def test_alpha_divided_by_the_rank_scales_the_change(load: Callable[..., Models]) -> None:
    tensors = kohya()
    up, down = tensors.values()
    name = next(iter(tensors)).removesuffix(".lora_up.weight")
    models = load(style=tensors | {f"{name}.alpha": torch.tensor(1.5)})
    before = weight(models, TO_Q).clone()

    LoraSet(models).apply([LoraUse("style", -2.0)])

    assert torch.allclose(weight(models, TO_Q), before - 2.0 * (1.5 / RANK) * up @ down, atol=1e-6)


def test_alpha_in_the_metadata_of_peft_scales_the_change(load: Callable[..., Models]) -> None:
    up, down = pair(64, 64)
    module = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    settings = {"unet.r": RANK, "unet.lora_alpha": 6, "unet.use_dora": False, "unet.alpha_pattern": {}}
    models = load(
        style={f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up},
        metadata={"lora_adapter_metadata": json.dumps(settings)},
    )
    before = weight(models, TO_Q).clone()

    LoraSet(models).apply([LoraUse("style", 1.0)])

    assert torch.allclose(weight(models, TO_Q), before + (6 / RANK) * up @ down, atol=1e-6)


@pytest.mark.parametrize("setting", ["use_dora", "use_rslora", "alpha_pattern", "lora_bias"])
def test_settings_of_peft_that_change_the_sum_are_refused(load: Callable[..., Models], setting: str) -> None:
    models = load(
        style=kohya(), metadata={"lora_adapter_metadata": json.dumps({f"unet.{setting}": {"x": 1}})}
    )

    with pytest.raises(WorkerError, match=rf"style\.safetensors: unet\.{setting} is"):
        LoraSet(models)


@pytest.mark.parametrize(
    "text", ["not JSON", "[]", '{"unet.lora_alpha": "six"}'], ids=["text", "list", "alpha"]
)
def test_settings_that_cannot_be_read_are_refused(load: Callable[..., Models], text: str) -> None:
    models = load(style=kohya(), metadata={"lora_adapter_metadata": text})

    with pytest.raises(WorkerError, match=r"^style\.safetensors: "):
        LoraSet(models)


@pytest.mark.parametrize(
    "module", ["lora_unet_down_blocks_0_resnets_0_conv1", "lora_unet_input_blocks_1_0_in_layers_2"]
)
def test_a_convolution_is_changed_by_a_convolution_and_a_1x1(
    load: Callable[..., Models], module: str
) -> None:
    generator = torch.Generator().manual_seed(0)
    down = torch.randn((RANK, 32, 3, 3), generator=generator)
    up = torch.randn((32, RANK, 1, 1), generator=generator)
    models = load(style={f"{module}.lora_down.weight": down, f"{module}.lora_up.weight": up})
    before = weight(models, CONV).clone()
    x = torch.randn((1, 32, 6, 6), generator=generator)

    LoraSet(models).apply([LoraUse("style", 1.0)])

    plain = nn.functional.conv2d(x, before, padding=1)
    added = nn.functional.conv2d(nn.functional.conv2d(x, down, padding=1), up)
    assert torch.allclose(nn.functional.conv2d(x, weight(models, CONV), padding=1), plain + added, atol=1e-3)


def test_a_linear_layer_takes_tensors_of_a_1x1_convolution(load: Callable[..., Models]) -> None:
    tensors = {name: tensor[:, :, None, None] for name, tensor in kohya().items()}
    models = load(style=tensors)
    before = weight(models, TO_Q).clone()

    LoraSet(models).apply([LoraUse("style", 1.0)])

    up, down = kohya().values()
    assert torch.allclose(weight(models, TO_Q), before + up @ down, atol=1e-6)


def test_several_loras_add_up_in_float32_and_are_cast_once(load: Callable[..., Models]) -> None:
    models = load(torch.bfloat16, one=kohya(seed=1), two=kohya(seed=2))
    before = weight(models, TO_Q).clone()

    LoraSet(models).apply([LoraUse("one", 0.7), LoraUse("two", -0.4)])

    total = before.float()
    for (up, down), strength in ((kohya(seed=1).values(), 0.7), (kohya(seed=2).values(), -0.4)):
        total = total + (up @ down) * strength
    assert weight(models, TO_Q).dtype == torch.bfloat16
    assert torch.equal(weight(models, TO_Q), total.to(torch.bfloat16))


def test_without_uses_the_original_bytes_come_back(load: Callable[..., Models]) -> None:
    models = load(torch.float16)
    before = everything(models)
    lora_set = LoraSet(models)

    assert lora_set.apply([LoraUse("random", 0.8)])
    assert changes(models, before)
    assert lora_set.apply([])

    assert changes(models, before) == set()


def test_another_set_starts_from_the_originals(load: Callable[..., Models]) -> None:
    models = load(torch.float16, one=kohya(seed=1))
    lora_set = LoraSet(models)
    lora_set.apply([LoraUse("one", 1.0)])
    wanted = everything(models)

    lora_set.apply([LoraUse("random", 0.8)])
    lora_set.apply([LoraUse("one", 0.3), LoraUse("random", 0.1)])
    lora_set.apply([LoraUse("one", 1.0)])

    assert changes(models, wanted) == set()


def test_the_same_set_again_writes_nothing(
    load: Callable[..., Models], monkeypatch: pytest.MonkeyPatch
) -> None:
    lora_set = LoraSet(load(one=kohya()))
    lora_set.apply([LoraUse("one", 0.5), LoraUse("random", 1.0)])
    monkeypatch.setattr(LoraSet, "_write", lambda *arguments: pytest.fail("written"))

    assert lora_set.apply([LoraUse("random", 1.0), LoraUse("one", 0.5)]) is False


def test_the_weights_memory_stays_where_it_is(load: Callable[..., Models]) -> None:
    models = load(one=kohya())
    address = weight(models, TO_Q).data_ptr()

    LoraSet(models).apply([LoraUse("one", 1.0)])

    assert weight(models, TO_Q).data_ptr() == address


def test_the_files_that_the_weights_were_mapped_from_stay_as_they_are(load: Callable[..., Models]) -> None:
    models = load(one=kohya())
    path = models.manifest.path(models.manifest.parts["unet"].weights)
    before = path.read_bytes()

    LoraSet(models).apply([LoraUse("one", 1.0)])

    assert path.read_bytes() == before


def test_a_lora_named_twice_counts_with_both_weights_and_zero_with_none(load: Callable[..., Models]) -> None:
    models = load(one=kohya())
    before = everything(models)
    lora_set = LoraSet(models)

    lora_set.apply([LoraUse("one", 0.25), LoraUse("one", 0.5)])
    twice = weight(models, TO_Q).clone()
    lora_set.apply([LoraUse("one", 0.75)])
    assert torch.equal(weight(models, TO_Q), twice)

    lora_set.apply([LoraUse("one", 0.0), LoraUse("random", 0.0)])
    assert changes(models, before) == set()


def test_it_works_within_inference_mode_and_is_undone_outside(load: Callable[..., Models]) -> None:
    models = load()
    before = everything(models)
    lora_set = LoraSet(models)

    with torch.inference_mode():
        assert lora_set.apply([LoraUse("random", 1.0)])
    lora_set.apply([])

    assert changes(models, before) == set()


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_an_interruption_half_way_puts_the_originals_back(
    load: Callable[..., Models], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    models = load(one=kohya())
    before = everything(models)
    lora_set = LoraSet(models)
    lora_set.apply([LoraUse("one", 1.0)])
    difference = loras._difference
    calls = 0

    def fail_late(*arguments: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise error
        return difference(*arguments)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(loras, "_difference", fail_late)
    with pytest.raises(type(error)):
        lora_set.apply([LoraUse("random", 1.0)])

    assert calls == 3
    assert changes(models, before) == set()
    monkeypatch.setattr(loras, "_difference", difference)
    assert lora_set.apply([LoraUse("random", 1.0)])
    assert changes(models, before)


def test_text_that_changed_in_a_call_that_failed_is_told_by_the_next(
    load: Callable[..., Models], monkeypatch: pytest.MonkeyPatch
) -> None:
    lora_set = LoraSet(load(one=kohya()))
    assert lora_set.apply([LoraUse("random", 1.0)])
    monkeypatch.setattr(loras, "_difference", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lora_set.apply([LoraUse("one", 1.0)])

    assert lora_set.apply([]) is True
    assert lora_set.apply([]) is False


def test_a_name_that_is_not_installed_is_refused_with_the_list_and_changes_nothing(
    load: Callable[..., Models],
) -> None:
    models = load(one=kohya())
    before = everything(models)

    with pytest.raises(WorkerError, match=r"no LoRA 'other'; installed: random, one") as caught:
        LoraSet(models).apply([LoraUse("random", 1.0), LoraUse("other", 1.0)])
    assert (caught.value.code, caught.value.field) == ("unknown_lora", "loras")
    assert changes(models, before) == set()


MODULE = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"{MODULE}.hada_w1_a", "LoHa"),
        (f"{MODULE}.lokr_w1", "LoKr"),
        (f"{MODULE}.dora_scale", "DoRA"),
        ("unet.conv_in.lora_magnitude_vector", "DoRA"),
        (f"{MODULE}.lora_mid.weight", "middle"),
        (f"{MODULE}.oft_blocks", "OFT"),
        (f"{MODULE}.diff", "full difference"),
        (f"{MODULE}.lora_B.bias", "biases"),
        ("text_encoder.embeddings.token_embedding.lora_embedding_A", "embedding"),
        ("bundle_emb.word.string_to_param.*", "textual inversion"),
        (f"{MODULE}.scale", "no tensor of a LoRA"),
        ("lora_unet_mid_block_attentions_9_proj_in.lora_up.weight", "changes nothing that this model has"),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", "changes nothing that this model has"),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", "lacks the down tensor"),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", "lacks the up tensor"),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha", "lacks the up tensor"),
    ],
)
def test_what_is_not_understood_is_refused_by_name_when_the_files_are_checked(
    load: Callable[..., Models], name: str, reason: str
) -> None:
    models = load(style=kohya() | {name: torch.ones(1)})

    with pytest.raises(WorkerError) as caught:
        LoraSet(models)
    assert caught.value.code == "weights_invalid"
    assert caught.value.message.startswith(f"style.safetensors: {name} ")
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("up", "down"),
    [
        ((64, 3), (3, 63)),
        ((63, 3), (3, 64)),
        ((64, 2), (3, 64)),
        ((64, 3), (64, 3)),
        ((64, 0), (0, 64)),
        ((64,), (3, 64)),
        ((64, 3), ()),
        ((64, 3, 3, 3), (3, 64)),
        ((64, 3), (3, 64, 3, 3)),
    ],
)
def test_tensors_of_shapes_that_do_not_fit_are_refused(
    load: Callable[..., Models], up: tuple[int, ...], down: tuple[int, ...]
) -> None:
    models = load(
        style={f"{MODULE}.lora_up.weight": torch.ones(up), f"{MODULE}.lora_down.weight": torch.ones(down)}
    )

    with pytest.raises(WorkerError, match=r"has the shape .*, for a weight of \[64, 64\]"):
        LoraSet(models)


def test_an_alpha_of_several_numbers_is_refused(load: Callable[..., Models]) -> None:
    models = load(style=kohya() | {f"{MODULE}.alpha": torch.ones(2)})

    with pytest.raises(WorkerError, match=r"\.alpha is not one number"):
        LoraSet(models)


def test_two_pairs_for_one_weight_are_refused(load: Callable[..., Models]) -> None:
    models = load(style=kohya() | kohya("lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q"))

    with pytest.raises(WorkerError, match="two LoRA pairs change the same weight"):
        LoraSet(models)


def test_a_file_without_tensors_is_refused(load: Callable[..., Models]) -> None:
    models = load(style={})

    with pytest.raises(WorkerError, match=r"style\.safetensors: a LoRA without tensors"):
        LoraSet(models)
