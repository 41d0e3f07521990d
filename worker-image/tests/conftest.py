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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a GPU where there is none: it is no part of the run, rather than a skipped one."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu:
        return
    import torch

    if not torch.cuda.is_available():
        config.hook.pytest_deselected(items=on_gpu)
        items[:] = [item for item in items if item not in on_gpu]
