import os
from pathlib import Path

import pytest

# Before torch is imported, and for the processes that tests start: tiny networks are not worth a second
# thread, and the threads of many processes on few cores wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory of tiny random weights, with one style LoRA in it."""
    from model_build.random_model import main

    directory = tmp_path_factory.mktemp("tiny") / "model"
    main(["--size", "tiny", "--to", str(directory), "--lora", "geometric-logo"])
    return directory
