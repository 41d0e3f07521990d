"""The failures a caller sees: a code to switch on, a field, a message that says what to do."""

HTTP_STATUS: dict[str, int] = {
    "bad_input": 400,
    "missing_field": 422,
    "empty_prompt": 422,
    "wrong_type": 422,
    "too_long": 422,
    "out_of_range": 422,
    "bad_size": 422,
    "too_large": 422,
    "bad_seed": 422,
    "unknown_sampler": 422,
    "unknown_scheduler": 422,
    "unknown_preset": 422,
    "unknown_checkpoint": 422,
    "unknown_lora": 422,
    "too_many": 422,
    "unsupported": 422,
    "unknown_field": 422,
    "tag_not_allowed": 422,
    "result_too_large": 413,
    "busy": 503,
    "not_ready": 503,
    "timed_out": 504,
    "gpu_out_of_memory": 507,
    "gpu_failed": 500,
    "nan_latents": 500,
    "weights_invalid": 500,
    "internal": 500,
}
"""Every code, with the status of the HTTP mode."""


class WorkerError(Exception):
    """A failure with a code of `HTTP_STATUS`, a message for the caller, and the input field at fault.

    `refresh_worker` asks the platform for a fresh process after this job, as the GPU cannot be trusted.
    """

    def __init__(
        self, code: str, message: str, *, field: str | None = None, refresh_worker: bool = False
    ) -> None:
        if code not in HTTP_STATUS:
            raise ValueError(f"no such code: {code}")
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.refresh_worker = refresh_worker

    @property
    def http_status(self) -> int:
        """The status that the HTTP mode answers with."""
        return HTTP_STATUS[self.code]

    def to_result(self) -> dict[str, object]:
        """Return what the handler returns: the RunPod SDK takes `error` out and reports the job as failed."""
        result: dict[str, object] = {"status": "error", "error": self.message, "code": self.code}
        if self.field is not None:
            result["field"] = self.field
        if self.refresh_worker:
            result["refresh_worker"] = True
        return result


class Cancelled(Exception):  # noqa: N818 - no error: the caller no longer wants the job
    """Raised between steps when a job is stopped; nobody is told."""
