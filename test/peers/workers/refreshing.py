"""The worker of `dispatch.py`, which ends after each job."""

import runpod
from dispatch import handle

if __name__ == "__main__":
    runpod.serverless.start({"handler": handle, "refresh_worker": True})
