"""One start of a worker, timed from within, for `bench.run`: prints the seconds of each phase as JSON."""

import json
import os
import time


def main() -> None:
    """Import, load, warm up, as `handler.py` does."""
    phases: dict[str, float] = {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        now = time.perf_counter()
        phases[name] = now - began
        began = now

    import torch

    lap("import torch")
    from worker.pipeline import Pipeline, choose_device
    from worker.settings import Settings
    from worker.weights import load_models, resolve_model_directory

    lap("import the worker")
    settings = Settings.from_environment(os.environ)
    device = choose_device(settings.device)
    models = load_models(resolve_model_directory(settings), device)
    if device.type == "cuda":
        torch.cuda.synchronize()
    lap("load the models")
    phases.update({f"load: {name}": seconds for name, seconds in models.timings_s.items()})
    pipeline = Pipeline(models, settings, device)
    lap("make the pipeline")
    pipeline.warm_up()
    lap("warm up")
    print(json.dumps({**phases, "ready at": time.time()}))


if __name__ == "__main__":
    main()
