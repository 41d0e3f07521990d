"""The thread that alone talks to the GPU, and what the GPU's failures mean. No torch here."""

import queue
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from worker.errors import WorkerError

T = TypeVar("T")

_GPU_MESSAGE = re.compile(
    r"CUDA error|CUDA driver|device-side assert|cu(?:DNN|BLAS|FFT)|CU(?:DNN|BLAS)_STATUS|HIP error"
)
"""How torch words what CUDA, its libraries or HIP report as plain RuntimeErrors."""


class GpuThread:
    """Runs functions one after another in one thread.

    Always the same thread, so that the handles and caches which CUDA's libraries keep per thread are those of
    the warm-up. A daemon thread, so that a kernel which never returns cannot keep the process from ending.
    """

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="gpu", daemon=True).start()

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Return the future of `function`; cancelling it before its turn keeps it from being called."""
        future: Future[T] = Future()

        def task() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = function()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._tasks.put(task)
        return future

    def _run(self) -> None:
        while True:
            # No name for the task: it would keep the last picture alive until the next job.
            self._tasks.get()()


def describe_gpu_error(error: BaseException) -> WorkerError | None:
    """Return what an accelerator's failure is called; None when `error` is no such failure.

    torch's classes are known by name, since this module must import without torch: `torch.OutOfMemoryError`
    (`torch.cuda.OutOfMemoryError`) and `torch.AcceleratorError`, both RuntimeErrors. After either the process
    is not to be trusted: a CUDA error is sticky, and after memory ran out the rest is in fragments.
    """
    if not isinstance(error, RuntimeError):
        return None
    torch_classes = {
        cls.__name__ for cls in type(error).__mro__ if cls.__module__.partition(".")[0] == "torch"
    }
    of_gpu = bool(torch_classes & {"OutOfMemoryError", "AcceleratorError"}) or bool(
        _GPU_MESSAGE.search(str(error))
    )
    if "OutOfMemoryError" in torch_classes or (of_gpu and "out of memory" in str(error)):
        return WorkerError(
            "gpu_out_of_memory",
            "the GPU ran out of memory; ask for a smaller picture, or use a GPU with more memory",
            refresh_worker=True,
        )
    if of_gpu:
        return WorkerError(
            "gpu_failed", "the GPU failed; the worker restarts, send the job again", refresh_worker=True
        )
    return None
