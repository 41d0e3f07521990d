"""A worker that loads for ever and never asks for a job."""

import threading

print("loading for ever", flush=True)
threading.Event().wait()
