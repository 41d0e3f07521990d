import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from worker import settings

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")


def run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, check=True, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_the_commands_without_a_gpu_draw_a_picture(tmp_path: Path) -> None:
    block = next(
        found for found in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "random_model" in found
    )
    *_, make, draw = block.strip().split("\n")
    for line in (make, draw):
        words = shlex.split(re.sub(r"/tmp/tiny", str(tmp_path / "tiny"), line))
        variables = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
        command = [word for word in words if not re.match(r"[A-Z_]+=", word)]
        assert command[0] == ".venv/bin/python"
        printed = run([sys.executable, *command[1:]], **variables)
    assert "'status': 'success'" in printed or '"status": "success"' in printed


def test_the_page_has_the_settings_own_table() -> None:
    table = re.search(r"\| variable \|.*?\n\n", settings.__doc__ or "", re.DOTALL)
    assert table is not None
    assert table[0].strip() in PAGE


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)", PAGE))))
def test_what_the_page_links_to_is_there(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_page_names_every_checkpoint_that_can_be_built() -> None:
    sources = json.loads((ROOT / "model_build" / "sources.json").read_text(encoding="utf-8"))
    names = [source["name"] for source in sources["files"] if source["kind"] == "checkpoint"]
    assert len(names) > 1
    for name in names:
        assert f"`{name}`" in PAGE
