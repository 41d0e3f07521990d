import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_build.configs import ATTENTION_RANKS, TINY
from model_build.merge import main
from tests import ldm_checkpoint
from tests.ldm_checkpoint import Shapes
from worker.manifest import read_manifest
from worker.weights import build_part, load_models

Tensors = dict[str, torch.Tensor]

TO_Q = "transformer_blocks.0.attn1.to_q.weight"


def draw(shapes: Shapes, seed: int, dtype: torch.dtype) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    return {name: (torch.randn(shape, generator=generator) * 0.1).to(dtype) for name, shape in shapes.items()}


@dataclass
class Build:
    """Tiny downloads, and the command on them. Change a file, then pin it again or not."""

    directory: Path

    @property
    def downloads(self) -> Path:
        return self.directory / "downloads"

    @property
    def target(self) -> Path:
        return self.directory / "model"

    def prepare(self) -> None:
        self.downloads.mkdir()
        alpha_decoder = build_part("alpha_decoder", TINY["alpha_decoder"]).state_dict()
        lora = ldm_checkpoint.attention_lora(ldm_checkpoint.TINY, ATTENTION_RANKS["tiny"])
        self.save("checkpoint", draw(ldm_checkpoint.checkpoint(ldm_checkpoint.TINY), 1, torch.float16))
        self.save("vae", draw(ldm_checkpoint.vae(ldm_checkpoint.TINY), 2, torch.float32))
        self.save("attention_lora", draw(lora, 3, torch.float16))
        self.save(
            "alpha_decoder",
            draw({name: tuple(tensor.shape) for name, tensor in alpha_decoder.items()}, 4, torch.float16),
        )
        self.pin()

    def path(self, kind: str) -> Path:
        return self.downloads / f"{kind}.safetensors"

    def save(self, kind: str, tensors: Tensors) -> None:
        save_file(tensors, self.path(kind))

    def load(self, kind: str) -> Tensors:
        return load_file(self.path(kind))

    def pin(self) -> None:
        files = [
            {
                "name": kind.replace("_", "-"),
                "kind": kind,
                "default": kind == "checkpoint",
                "aliases": [f"{kind}.safetensors"] if kind == "checkpoint" else [],
                "repo": "owner/model",
                "file": self.path(kind).name,
                "revision": "0" * 40,
                "bytes": self.path(kind).stat().st_size,
                "sha256": hashlib.sha256(self.path(kind).read_bytes()).hexdigest(),
                "licence": f"Licence of the {kind}",
                "notice": f"Notice of the {kind}.",
            }
            for kind in ("checkpoint", "vae", "attention_lora", "alpha_decoder")
        ]
        (self.directory / "sources.json").write_text(json.dumps({"format": 1, "files": files}))

    def run(self, *arguments: str) -> int:
        return main(
            [
                *("--downloads", str(self.downloads), "--to", str(self.target), "--size", "tiny"),
                *("--sources", str(self.directory / "sources.json"), *arguments),
            ]
        )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = Build(tmp_path_factory.mktemp("prepared"))
    build.prepare()
    return build.directory


@pytest.fixture
def build(prepared: Path, tmp_path: Path) -> Build:
    return Build(shutil.copytree(prepared, tmp_path / "build"))


def test_downloads_become_a_model_directory_that_loads(
    build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build.run() == 0

    manifest = read_manifest(build.target)
    assert manifest.dtype == "float16"
    assert manifest.checkpoint.name == "checkpoint"
    assert manifest.checkpoint.aliases == ("checkpoint.safetensors",)
    assert manifest.checkpoint.sha256 == hashlib.sha256(build.path("checkpoint").read_bytes()).hexdigest()
    for part in manifest.parts.values():
        content = manifest.path(part.weights).read_bytes()
        assert (part.weights.bytes, part.weights.sha256) == (
            len(content),
            hashlib.sha256(content).hexdigest(),
        )
    models = load_models(build.target, torch.device("cpu"))
    checkpoint = build.load("checkpoint")
    prefix = "conditioner.embedders."
    assert torch.equal(
        models.clip_l.get_parameter("encoder.layers.2.mlp.fc1.weight"),
        checkpoint[f"{prefix}0.transformer.text_model.encoder.layers.2.mlp.fc1.weight"],
    )
    assert torch.equal(
        models.clip_g.get_parameter("text_model.encoder.layers.2.self_attn.k_proj.bias"),
        checkpoint[f"{prefix}1.model.transformer.resblocks.2.attn.in_proj_bias"][32:64],
    )
    assert torch.equal(
        models.clip_g.get_parameter("text_projection.weight"),
        checkpoint[f"{prefix}1.model.text_projection"].T,
    )
    assert torch.equal(
        models.alpha_decoder.get_parameter("conv_out.weight"), build.load("alpha_decoder")["conv_out.weight"]
    )
    printed = capsys.readouterr().out
    notices = (build.target / "LICENSES.txt").read_text()
    for kind in ("checkpoint", "vae", "attention_lora", "alpha_decoder"):
        assert f"Licence of the {kind}" in notices
        assert f"Notice of the {kind}." in notices
        assert f"Notice of the {kind}." in printed


def test_the_unet_has_the_lora_added_in_float32_where_it_applies_and_nowhere_else(build: Build) -> None:
    assert build.run() == 0

    unet = load_file(build.target / "unet.safetensors")
    checkpoint, lora = build.load("checkpoint"), build.load("attention_lora")
    weight = checkpoint[f"model.diffusion_model.middle_block.1.{TO_Q}"]
    up = lora[f"diffusion_model.middle_block.1.{TO_Q}::lora::0"]
    down = lora[f"diffusion_model.middle_block.1.{TO_Q}::lora::1"]
    merged = (weight.float() + up.float() @ down.float()).half()
    assert torch.equal(unet[f"mid_block.attentions.0.{TO_Q}"], merged)
    assert not torch.equal(merged, weight)
    assert torch.equal(
        unet["mid_block.resnets.1.conv1.weight"],
        checkpoint["model.diffusion_model.middle_block.2.in_layers.2.weight"],
    )


def test_the_vae_is_the_one_of_the_vae_file(build: Build) -> None:
    assert build.run() == 0

    decoder = load_file(build.target / "vae_decoder.safetensors")
    source = build.load("vae")
    assert torch.equal(decoder["decoder.conv_in.weight"], source["decoder.conv_in.weight"].half())
    assert torch.equal(
        decoder["decoder.mid_block.attentions.0.to_q.weight"],
        source["decoder.mid.attn_1.q.weight"].half()[:, :, 0, 0],
    )
    assert not any(name.startswith("encoder") for name in decoder)


def test_the_same_downloads_give_the_same_bytes(build: Build) -> None:
    assert build.run() == 0
    first = (build.target / "manifest.json").read_bytes()

    assert build.run() == 0
    assert (build.target / "manifest.json").read_bytes() == first


def refused(build: Build, capsys: pytest.CaptureFixture[str]) -> str:
    assert build.run() == 4
    assert not (build.target / "manifest.json").exists()
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    return error


def test_a_run_that_fails_leaves_no_manifest_of_an_earlier_one(
    build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build.run() == 0
    build.path("vae").write_bytes(b"short")

    assert "vae.safetensors" in refused(build, capsys)


@pytest.mark.parametrize("kind", ["checkpoint", "vae", "attention_lora", "alpha_decoder"])
def test_a_file_with_another_hash_than_pinned_is_refused(
    build: Build, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(build.path(kind).read_bytes())
    content[-1] ^= 1
    build.path(kind).write_bytes(content)

    assert f"{kind}.safetensors: expected the sha256" in refused(build, capsys)


def test_a_short_file_is_refused_by_its_size(build: Build, capsys: pytest.CaptureFixture[str]) -> None:
    content = build.path("vae").read_bytes()
    build.path("vae").write_bytes(content[:-100])

    assert f"vae.safetensors: expected {len(content):,} bytes, found {len(content) - 100:,}" in refused(
        build, capsys
    )


def test_a_missing_file_is_refused(build: Build, capsys: pytest.CaptureFixture[str]) -> None:
    build.path("attention_lora").unlink()

    assert "attention_lora.safetensors: expected" in refused(build, capsys)


@pytest.mark.parametrize("kind", ["checkpoint", "vae", "attention_lora", "alpha_decoder"])
def test_an_unknown_tensor_in_any_file_is_refused_by_name(
    build: Build, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    build.save(kind, build.load(kind) | {"unknown.weight": torch.zeros(1)})
    build.pin()

    assert "unknown.weight" in refused(build, capsys)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("checkpoint", "model.diffusion_model.out.2.weight"),
        ("vae", "decoder.conv_out.weight"),
        ("alpha_decoder", "conv_out.weight"),
    ],
)
@pytest.mark.parametrize("missing", [True, False])
def test_a_missing_tensor_or_another_shape_is_refused_by_name(
    build: Build, kind: str, name: str, missing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = build.load(kind)
    del tensors[name]
    if not missing:
        tensors[name] = torch.zeros(2, 2)
    build.save(kind, tensors)
    build.pin()

    error = refused(build, capsys)
    assert name in error
    assert ("expected the shape" in error) != missing


def test_numbers_that_float16_does_not_hold_are_refused(
    build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    vae = build.load("vae")
    vae["decoder.conv_in.bias"][0] = 70_000.0
    build.save("vae", vae)
    build.pin()

    assert "vae.safetensors: decoder.conv_in.bias: holds numbers that float16 does not" in refused(
        build, capsys
    )


def test_a_style_lora_is_taken_along_under_its_name(build: Build) -> None:
    lora = build.directory / "some.safetensors"
    save_file(
        {
            "lora_unet_middle_block_1_proj_in.lora_down.weight": torch.ones(2, 64),
            "lora_unet_middle_block_1_proj_in.lora_up.weight": torch.ones(64, 2),
        },
        lora,
    )

    assert build.run("--lora", f"style={lora}") == 0

    manifest = read_manifest(build.target)
    assert manifest.path(manifest.loras["style"]).read_bytes() == lora.read_bytes()


@pytest.mark.parametrize("name", ["style", "../style"])
def test_a_style_lora_that_is_not_understood_or_ill_named_stops_the_build(
    build: Build, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lora = build.directory / "some.safetensors"
    save_file({"lora_unet_middle_block_1_proj_in.hada_w1_a": torch.ones(2, 64)}, lora)

    assert build.run("--lora", f"{name}={lora}") == 4
    assert ("LoHa" if name == "style" else "'../style'") in capsys.readouterr().err


@pytest.mark.parametrize("value", ["style", "=file", "style="])
def test_a_style_lora_without_name_or_file_is_a_wrong_argument(build: Build, value: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        build.run("--lora", value)
    assert exit_.value.code == 2


def test_an_unknown_checkpoint_is_a_wrong_argument(build: Build, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.run("--checkpoint", "other") == 2
    assert "there are checkpoint" in capsys.readouterr().err
