"""Style LoRAs at run time: added to the networks' weights in place, and taken away to the last bit.

Weights are changed instead of layers being wrapped: a step costs what it costs without, and a compiled
network stays as it is, since it reads the same memory.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final

import torch
from safetensors import safe_open
from torch import Tensor, nn

from worker.errors import WorkerError
from worker.lora_file import LoraPair, LoraTargets, TensorFile, read_lora
from worker.request import LoraUse
from worker.weights import Models

TEXT_PARTS: Final = frozenset({"clip_l", "clip_g"})

Key = tuple[str, str]
"""A weight: its part, and its name there."""


class LoraSet:
    """The LoRAs of a model directory, and which of them are in the weights now. Not for two threads at once.

    All files are checked here, by their headers. A weight's original is copied to the CPU before its first
    change, and kept: the memory for it grows to one copy of what the LoRAs touch, at most of the networks.

    Raises:
        WorkerError: `weights_invalid`, naming the file and the tensor that is not understood.
    """

    def __init__(self, models: Models) -> None:
        self._networks: Mapping[str, nn.Module] = {
            "unet": models.unet,
            "clip_l": models.clip_l,
            "clip_g": models.clip_g,
        }
        self._paths = {name: models.manifest.path(weights) for name, weights in models.manifest.loras.items()}
        targets = LoraTargets(self._networks) if self._paths else LoraTargets({})
        self._pairs: dict[str, tuple[LoraPair, ...]] = {
            name: read_lora(self._paths[name], weights.bytes, targets)
            for name, weights in models.manifest.loras.items()
        }
        self._originals: dict[Key, Tensor] = {}
        self._changed: set[Key] = set()
        self._applied: dict[str, float] | None = {}
        self._text_changed = False

    @torch.no_grad()
    def apply(self, uses: Sequence[LoraUse]) -> bool:
        """Make the weights W + sum of weight · alpha/rank · up @ down over the uses, and over nothing else.

        The sum is taken in float32 from the original W and cast once to W's dtype, so that it does not depend
        on what was applied before; without uses the original bytes come back. When something fails half-way,
        the originals are put back before the error goes on.

        Args:
            uses: names from the manifest; one that is named twice counts with the sum of its weights.

        Returns:
            True when text encoders' weights may have changed since the last call that returned: what was
            encoded before is then out of date.

        Raises:
            WorkerError: `unknown_lora`, for a name that the model directory does not have.
        """
        wanted: dict[str, float] = defaultdict(float)
        for use in uses:
            if use.name not in self._pairs:
                raise WorkerError(
                    "unknown_lora",
                    f"no LoRA {use.name[:80]!r}; installed: {', '.join(self._pairs) or 'none'}",
                    field="loras",
                )
            wanted[use.name] += use.weight
        wanted = {name: weight for name, weight in wanted.items() if weight != 0.0}
        if wanted != self._applied:
            self._applied = None
            try:
                self._change(wanted)
            except BaseException:
                self._restore(set(self._changed))
                self._applied = {}
                raise
            self._applied = wanted
        changed, self._text_changed = self._text_changed, False
        return changed

    def _change(self, wanted: Mapping[str, float]) -> None:
        with ExitStack() as stack:
            files = {
                name: stack.enter_context(safe_open(self._paths[name], framework="pt")) for name in wanted
            }
            sums: dict[Key, list[tuple[str, LoraPair]]] = defaultdict(list)
            for name in wanted:
                for pair in self._pairs[name]:
                    sums[(pair.part, pair.name)].append((name, pair))
            self._restore(self._changed - sums.keys())
            for key, pairs in sums.items():
                weight = self._parameter(key)
                if key not in self._originals:
                    self._originals[key] = weight.detach().to("cpu", copy=True)
                total = self._originals[key].to(weight.device, torch.float32, copy=True)
                for name, pair in pairs:
                    total += _difference(files[name], pair, wanted[name], total)
                self._write(key, total)

    def _restore(self, keys: set[Key]) -> None:
        for key in keys:
            self._write(key, self._originals[key])
            self._changed.discard(key)

    def _write(self, key: Key, value: Tensor) -> None:
        """Write into the weight's own memory; noted before, so that a write that stops half-way is undone."""
        self._changed.add(key)
        self._text_changed |= key[0] in TEXT_PARTS
        self._parameter(key).copy_(value)

    def _parameter(self, key: Key) -> Tensor:
        return self._networks[key[0]].get_parameter(key[1])


def _difference(file: TensorFile, pair: LoraPair, weight: float, like: Tensor) -> Tensor:
    """Return weight · alpha/rank · up @ down as float32 in the shape of `like`, on its device."""
    alpha = pair.alpha if pair.alpha_key is None else float(file.get_tensor(pair.alpha_key))
    up = file.get_tensor(pair.up).to(like.device, torch.float32).flatten(1)
    down = file.get_tensor(pair.down).to(like.device, torch.float32).flatten(1)
    return (up @ down).mul_(weight * alpha / pair.rank).reshape(like.shape)
