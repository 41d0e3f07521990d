"""The worker's log: one JSON object a line on standard output, one line per job, never a prompt."""

import json
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from typing import TextIO

LEVELS = ("debug", "info", "warning", "error")
"""What `LOG_LEVEL` may name, from everything to failures alone."""

_CENSORED = "[prompt]"


class Log:
    """Writes lines of JSON; safe for several threads.

    Args:
        level: the least level that is written, one of `LEVELS`.
        stream: where the lines go; standard output as it is at the time of each line when None.

    """

    def __init__(self, level: str = "info", stream: TextIO | None = None) -> None:
        self._least = LEVELS.index(level)
        self._stream = stream
        self._lock = threading.Lock()

    def job(self, job_id: str, code: str, phases_s: Mapping[str, float]) -> None:
        """Write the one line of a job.

        Args:
            job_id: the id that the platform, or the HTTP mode, gave it.
            code: `ok`, `warm_up`, `cancelled`, or a code of `worker.errors.HTTP_STATUS`.
            phases_s: seconds per phase; written as whole milliseconds.

        """
        phases_ms = {name: round(seconds * 1000) for name, seconds in phases_s.items()}
        self.event("job", id=job_id, code=code, ms=phases_ms)

    def failure(self, job_id: str, error: BaseException, secrets: Iterable[str] = ()) -> None:
        """Write the traceback of an unexpected failure, with the texts of `secrets` taken out of it."""
        text = "".join(traceback.format_exception(error))
        forms = {form for secret in secrets if secret.strip() for form in (secret, repr(secret)[1:-1])}
        if forms:
            # The longest first: a prompt is part of its own text with the preset's prefix.
            longest_first = sorted(forms, key=len, reverse=True)
            text = re.sub("|".join(map(re.escape, longest_first)), _CENSORED, text)
        self.event("job_failure", "error", id=job_id, traceback=text)

    def event(self, event: str, level: str = "info", **fields: object) -> None:
        """Write one line: `event`, the level, the time in seconds since 1970, and the fields."""
        if LEVELS.index(level) < self._least:
            return
        record = {"event": event, "level": level, "time_s": round(time.time(), 3), **fields}
        line = json.dumps(record) + "\n"
        stream = sys.stdout if self._stream is None else self._stream
        with self._lock:
            stream.write(line)
            stream.flush()
