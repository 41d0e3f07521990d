"""The presets that `generator_type` names.

Source: the published worker's DEPLOYMENT.md and `modules/api/api.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Preset:
    """What a preset changes about a picture."""

    text: str = ""
    """Put before the prompt."""
    loras: tuple[str, ...] = ()
    """Style LoRAs, applied with `DEFAULT_LORA_WEIGHT`: all have that weight in the published worker."""
    checkpoint: str | None = None
    """The one it needs; None: whichever the image holds."""


DEFAULT_PRESET: Final = "general"

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        # Where the published worker names Juggernaut v9, the image's own checkpoint is taken.
        "general": Preset(),
        "general_v6": Preset(checkpoint="juggernaut-xl-v6"),
        "aesthetic": Preset(text="high quality, detailed, masterpiece, best quality, "),
        "logo": Preset(text="flat-line-logo, geometric, ", loras=("geometric-logo",)),
        # The published worker also puts `<s0><s1> ` before the prompt: tokens of a textual inversion whose
        # embedding it does not ship, so that CLIP reads them as brackets, letters and digits. Left out here.
        "icon_3d": Preset(loras=("3d-icon-lora",)),
    }
)
