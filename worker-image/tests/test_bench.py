import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_bench_measures_every_phase_beside_plain_diffusers(tmp_path: Path) -> None:
    figures_file = tmp_path / "figures.json"
    small = ["--pixels", "64", "--steps", "2", "--rounds", "1", "--starts", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.run", "--device", "cpu", *small, "--json", str(figures_file)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    figures = json.loads(figures_file.read_text(encoding="utf-8"))
    assert set(figures["picture_s"]) >= {"text", "steps", "each step", "vae", "alpha", "png", "base64"}
    assert figures["start_s"]["process start to ready"] > figures["start_s"]["import torch"] > 0
    assert figures["peer_s"] > 0
    assert abs(figures["pictures_per_minute"] * figures["picture_s"]["whole picture"] - 60) < 1e-6
    assert f"{figures['ratio_to_peer']:.2f} x" in done.stdout
