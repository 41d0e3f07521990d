"""What a job's input may hold: names, defaults, ranges.

`test/fixtures/contract/worker-input.json` says the same, and the TypeScript side is held to it as well.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

Encoding = Literal["both", "base64", "url"]

SAMPLERS: Final = ("DPM++ 2M SDE", "DPM++ 2M", "Euler", "Euler a")
SCHEDULERS: Final = ("Karras", "Exponential", "Normal", "SGM Uniform")
ENCODINGS: Final[tuple[Encoding, ...]] = ("both", "base64", "url")

DEFAULT_NEGATIVE_PROMPT: Final = "bad, ugly"
DEFAULT_STEPS: Final = 20
DEFAULT_CFG_SCALE: Final = 5.0
DEFAULT_SIDE: Final = 1024
DEFAULT_LORA_WEIGHT: Final = 0.85

MAX_PROMPT_LENGTH: Final = 2000
"""Characters (Unicode code points) of prompt and negative prompt, each. The published worker has no limit."""
MAX_CHUNKS: Final = 128
"""Chunks of 75 tokens of prompt and negative prompt, each: the UNet attends to all of them in every step.

2,000 letters, digits and signs of one token each make 27.
"""
STEPS: Final = (1, 100)
CFG_SCALE: Final = (1, 30)
SIZE_STEP: Final = 64
"""Pixels. Sides are multiples of this: the transparent decoder halves its input six times."""
SIDE: Final = (64, 4096)
MAX_PIXELS: Final = 2_400_000
MAX_SEED: Final = 4_294_967_295
MAX_LORAS: Final = 3
LORA_WEIGHT: Final = (-2, 2)

ATTENTION_INJECTION: Final = "(SDXL) Only Generate Transparent Image (Attention Injection)"

_NOT_HERE: Final = "this worker supports no other value"
_ONE_IMAGE: Final = "a job makes one image; send a job for each"
_FIXED: Final = "it is fixed in this image"

FIXED_FIELDS: Final[Mapping[str, tuple[tuple[object, ...], str]]] = MappingProxyType(
    {
        "batch_size": ((1,), _ONE_IMAGE),
        "n_iter": ((1,), _ONE_IMAGE),
        "restore_faces": ((False,), _NOT_HERE),
        "tiling": ((False,), _NOT_HERE),
        "subseed": ((-1,), _NOT_HERE),
        "subseed_strength": ((0,), _NOT_HERE),
        "seed_resize_from_h": ((-1, 0), _NOT_HERE),
        "seed_resize_from_w": ((-1, 0), _NOT_HERE),
        "eta": ((1,), _NOT_HERE),
        "s_churn": ((0,), _NOT_HERE),
        # The web UI's 0 is "no limit".
        "s_tmax": ((0,), _NOT_HERE),
        "s_tmin": ((0,), _NOT_HERE),
        "s_noise": ((1,), _NOT_HERE),
        "override_settings": (({},), _NOT_HERE),
        "refiner_checkpoint": ((), _NOT_HERE),
        "refiner_switch_at": ((), _NOT_HERE),
        "layerdiffuse_enabled": ((True,), _FIXED),
        "layerdiffuse_method": ((ATTENTION_INJECTION,), _FIXED),
        "layerdiffuse_weight": ((1,), _FIXED),
        "layerdiffuse_stop_at": ((1,), _FIXED),
        "layerdiffuse_resize_mode": (("Crop and Resize",), _FIXED),
        "layerdiffuse_output_origin": ((False,), _FIXED),
    }
)
"""Fields of the published worker of which these values alone (and null) are accepted, and why."""

FIELDS: Final = (
    "prompt",
    "negative_prompt",
    "seed",
    "steps",
    "sampler_name",
    "scheduler",
    "cfg_scale",
    "width",
    "height",
    "generator_type",
    "checkpoint",
    "loras",
    "response",
    "warm_up",
)
"""The fields that change a job."""
