"""Docker's health check of the worker's container: exit code 0 healthy, 1 not.

In HTTP mode `/ping` must answer 200, which it does once the models are loaded; until then the image's start
period forgives. In queue mode nothing listens, and there is nothing to ask: the worker is the container's
first process, so that its end is the container's end, and RunPod watches it by the SDK's own pings.
"""

import http.client
import os
import sys
from collections.abc import Mapping
from typing import Final

TIMEOUT_S: Final = 4
"""Within the five seconds that the Dockerfile allows."""

_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104


def is_healthy(environment: Mapping[str, str]) -> bool:
    """Tell whether the worker with this environment is well."""
    if environment.get("MODE", "").strip().lower() != "http":
        return True
    host = environment.get("HOST", "").strip()
    port = int(environment.get("PORT", "").strip() or "8000")
    connection = http.client.HTTPConnection(
        "127.0.0.1" if host in _EVERYWHERE else host, port, timeout=TIMEOUT_S
    )
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_healthy(os.environ) else 1)
