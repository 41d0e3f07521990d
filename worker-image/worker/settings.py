"""The worker's settings, read from the environment once, at start.

An empty variable counts as absent. Names of choices may be written in any case.

| variable | default | values | what |
| --- | --- | --- | --- |
| `MODE` | `queue` | queue, http | jobs from a RunPod queue, or HTTP requests (plain GPUs too) |
| `MODEL_DIR` | `/models` | a path | the model directory: `manifest.json` and the weights |
| `MODEL_REPO` | | organisation/name | model of RunPod's model cache, instead of `MODEL_DIR` |
| `MODEL_CACHE` | `/runpod-volume/huggingface-cache/hub` | a path | where cached models lie |
| `DEVICE` | `auto` | auto, cpu, cuda | auto: CUDA where there is one |
| `LATENT_CONVENTION` | `scaled` | scaled, unscaled | the latent that the transparent decoder gets |
| `NOISE` | `gaussian` | gaussian, brownian | the noise of the stochastic samplers' steps |
| `DECODER_BATCH` | `auto` | auto, 8, 4, 2, 1 | decoder passes at once; auto: what free memory allows |
| `COMPILE` | `off` | off, blocks | blocks: compile the UNet's repeated blocks at start |
| `PNG_LEVEL` | `3` | 0..9 | effort of the PNG's compression (zlib) |
| `MAX_RESULT_BYTES` | `10000000` | 1024..1073741824 | larger results are refused (`result_too_large`) |
| `JOB_TIMEOUT_S` | `300` | 1..86400 | seconds a job may take |
| `CONCURRENCY` | `1` | 1..4 | jobs taken at once; they share the GPU one after the other |
| `PROGRESS_INTERVAL_S` | `1` | 0..60 | seconds between two progress reports at least |
| `WARM_UP_SIZE` | `1024` | 0..1536 | side of the picture drawn at start, pixels, a multiple of 64; 0: none |
| `HOST` | `0.0.0.0` | an address | where the HTTP mode listens |
| `PORT` | `8000` | 0..65535 | the HTTP mode's port, `/ping` too. 0: any free one |
| `PORT_HEALTH` | | 0..65535 | where RunPod asks for `/ping`; in HTTP mode the same as `PORT` |
| `PUBLIC_URL` | | an http(s) address | what file addresses begin with; absent: the request's `Host` header |
| `STORE_DIR` | `/tmp/layerdiffuse` | a path | where the HTTP mode keeps pictures |
| `STORE_MAX_FILES` | `1000` | 1..1000000 | pictures kept |
| `STORE_MAX_AGE_S` | `3600` | 1..31536000 | seconds a picture is kept |
| `STORE_MAX_BYTES` | `2147483648` | 1048576..1099511627776 | bytes of all pictures kept |
| `MAX_WAITING` | `16` | 0..10000 | requests that may wait in HTTP mode; one more is refused (`busy`) |
| `LOG_LEVEL` | `info` | debug, info, warning, error | the least severe lines that are logged |

`PUBLIC_URL`: set it wherever others reach the worker. Without it, the address of a file begins with `http://`
and the `Host` header, which is whatever the client sent: a cache or a program that passes the answer on hands
out an address that somebody else chose. Behind TLS it begins with `http://` all the same.

`LATENT_CONVENTION`: `scaled` is the sampler's latent, as in the published worker; `unscaled` the same divided
by the VAE's scale, which the decoder was very probably trained on. The default stays with the published
worker until a comparison on the true weights says otherwise.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

from worker.limits import SIZE_STEP
from worker.wording import show

DecoderBatch = Literal["auto", 8, 4, 2, 1]

MOST_WARM_UP_SIZE: Final = 1536
"""The largest square within the limit on pixels."""

_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_WHOLE: Final = re.compile(r"[0-9]{1,15}")
_DECIMAL: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")

Chosen = TypeVar("Chosen", bound=str)
Default = TypeVar("Default", int, None)


class SettingsError(ValueError):
    """A variable's value cannot be used; the message names both and what is allowed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings by the names of their variables; this module's table says what each means."""

    mode: Literal["queue", "http"]
    model_dir: Path
    model_repo: str | None
    model_cache: Path
    device: Literal["auto", "cpu", "cuda"]
    latent_convention: Literal["scaled", "unscaled"]
    noise: Literal["gaussian", "brownian"]
    decoder_batch: DecoderBatch
    compile: Literal["off", "blocks"]
    png_level: int
    max_result_bytes: int
    job_timeout_s: float
    concurrency: int
    progress_interval_s: float
    warm_up_size: int
    host: str
    port: int
    port_health: int | None
    """In HTTP mode None or `port`: one socket answers pictures and `/ping`."""
    public_url: str | None
    """Without a slash at its end."""
    store_dir: Path
    store_max_files: int
    store_max_age_s: float
    store_max_bytes: int
    max_waiting: int
    log_level: Literal["debug", "info", "warning", "error"]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises:
            SettingsError: for the first variable, in the table's order, whose value is not allowed; then for
                variables that contradict each other.
        """
        read = _Reader(environment)
        settings = cls(
            mode=read.choice("MODE", ("queue", "http"), "queue"),
            model_dir=read.path("MODEL_DIR", "/models"),
            model_repo=read.repository("MODEL_REPO"),
            model_cache=read.path("MODEL_CACHE", "/runpod-volume/huggingface-cache/hub"),
            device=read.choice("DEVICE", ("auto", "cpu", "cuda"), "auto"),
            latent_convention=read.choice("LATENT_CONVENTION", ("scaled", "unscaled"), "scaled"),
            noise=read.choice("NOISE", ("gaussian", "brownian"), "gaussian"),
            decoder_batch=_DECODER_BATCHES[read.choice("DECODER_BATCH", tuple(_DECODER_BATCHES), "auto")],
            compile=read.choice("COMPILE", ("off", "blocks"), "off"),
            png_level=read.whole("PNG_LEVEL", 0, 9, 3),
            max_result_bytes=read.whole("MAX_RESULT_BYTES", 1024, 1 << 30, 10_000_000),
            job_timeout_s=read.seconds("JOB_TIMEOUT_S", 1, 86_400, 300),
            concurrency=read.whole("CONCURRENCY", 1, 4, 1),
            progress_interval_s=read.seconds("PROGRESS_INTERVAL_S", 0, 60, 1),
            warm_up_size=read.whole("WARM_UP_SIZE", 0, MOST_WARM_UP_SIZE, 1024, multiple_of=SIZE_STEP),
            # A container is reached from outside itself or not at all.
            host=read.text("HOST") or "0.0.0.0",  # noqa: S104
            port=read.whole("PORT", 0, 65_535, 8000),
            port_health=read.whole("PORT_HEALTH", 0, 65_535, None),
            public_url=read.url("PUBLIC_URL"),
            # The container's own disk: nobody else writes there.
            store_dir=read.path("STORE_DIR", "/tmp/layerdiffuse"),  # noqa: S108
            store_max_files=read.whole("STORE_MAX_FILES", 1, 1_000_000, 1000),
            store_max_age_s=read.seconds("STORE_MAX_AGE_S", 1, 31_536_000, 3600),
            store_max_bytes=read.whole("STORE_MAX_BYTES", 1 << 20, 1 << 40, 2 << 30),
            max_waiting=read.whole("MAX_WAITING", 0, 10_000, 16),
            log_level=read.choice("LOG_LEVEL", ("debug", "info", "warning", "error"), "info"),
        )
        if settings.mode == "http" and settings.port_health not in (None, settings.port):
            # A load balancer that asks elsewhere hears nothing and never sends a request.
            raise SettingsError(
                f"PORT_HEALTH must be {settings.port}, as PORT (got {show(settings.port_health)}): "
                "in HTTP mode one port answers requests and /ping; set both to the same number"
            )
        return settings


_DECODER_BATCHES: Final[Mapping[str, DecoderBatch]] = {"auto": "auto", "8": 8, "4": 4, "2": 2, "1": 1}


class _Reader:
    """Reads variables; each method raises `SettingsError` for a value that is not allowed."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str) -> str | None:
        return self._environment.get(name, "").strip() or None

    def path(self, name: str, default: str) -> Path:
        return Path(self.text(name) or default)

    def choice(self, name: str, choices: tuple[Chosen, ...], default: Chosen) -> Chosen:
        value = self.text(name)
        if value is None:
            return default
        for choice in choices:
            if choice == value.lower():
                return choice
        raise _refused(name, f"one of {', '.join(choices)}", value)

    def whole(
        self, name: str, least: int, most: int, default: Default, *, multiple_of: int = 1
    ) -> int | Default:
        value = self.text(name)
        if value is None:
            return default
        number = int(value) if _WHOLE.fullmatch(value) else -1
        if not least <= number <= most or number % multiple_of:
            kind = "a whole number" if multiple_of == 1 else f"a multiple of {multiple_of}"
            raise _refused(name, f"{kind} {least}..{most}", value)
        return number

    def seconds(self, name: str, least: int, most: int, default: float) -> float:
        value = self.text(name)
        if value is None:
            return default
        number = float(value) if _DECIMAL.fullmatch(value) else -1.0
        if not least <= number <= most:
            raise _refused(name, f"a number of seconds {least}..{most}", value)
        return number

    def repository(self, name: str) -> str | None:
        value = self.text(name)
        if value is not None and (not _REPOSITORY.fullmatch(value) or ".." in value):
            raise _refused(name, "the name of a model repository, organisation/name", value)
        return value

    def url(self, name: str) -> str | None:
        value = self.text(name)
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            has_sign_in = parts.username is not None
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = has_sign_in = False
        if not is_address or has_sign_in or "?" in value or "#" in value:
            allowed = "an http or https address without sign-in, query and fragment"
            raise _refused(name, allowed, "an address with a sign-in" if has_sign_in else value)
        return value.rstrip("/")


def _refused(name: str, allowed: str, value: str) -> SettingsError:
    return SettingsError(f"{name} must be {allowed} (got {show(value)})")
