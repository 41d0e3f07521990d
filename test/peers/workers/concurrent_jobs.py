"""The worker of `dispatch.py`, which takes four jobs at once."""

import runpod
from dispatch import handle


def four(current: int) -> int:
    """Say how many jobs to hold, whatever it was before."""
    return 4


if __name__ == "__main__":
    runpod.serverless.start({"handler": handle, "concurrency_modifier": four})
