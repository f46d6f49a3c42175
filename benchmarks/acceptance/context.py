"""The device of an acceptance run, and the sizes that are measured on it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks import timing
from benchmarks.acceptance.report import Report
from benchmarks.setting import Setting

MODEL, BATCH, CLASSES, CAPTIONS = "ViT-B-32-quickgelu", 128, 200, 5  # SAFT's published setting
TINY_BATCH, TINY_CLASSES, TINY_CAPTIONS = 4, 5, 2
TINY_MODEL = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@dataclass(frozen=True)
class Context:
    """tiny: a small model, few repeats and one norm, to try the command on a CPU; folder: for what
    is kept beside the JSON; chosen: variants to measure, empty for all; scratch: for what a section
    needs on disk, removed when it ends."""

    device: torch.device
    tiny: bool
    folder: Path
    report: Report
    chosen: frozenset[str]
    scratch: Path

    @property
    def cuda(self) -> bool:
        """Whether the device is a CUDA one."""
        return self.device.type == "cuda"

    @property
    def batch(self) -> int:
        """Images in a training step."""
        return TINY_BATCH if self.tiny else BATCH

    @property
    def norms(self) -> tuple[Literal["linf", "l2"], ...]:
        """Norms of the attacks: a tiny run takes one."""
        return ("linf",) if self.tiny else ("linf", "l2")

    def setting(self, batch: int | None = None) -> Setting:
        """The published setting, or a tiny one with the same parts."""
        return Setting(
            model=MODEL,
            model_config=str(self._tiny_config()) if self.tiny else None,
            pretrained=None,
            classes=TINY_CLASSES if self.tiny else CLASSES,
            captions=TINY_CAPTIONS if self.tiny else CAPTIONS,
            batch_size=batch or self.batch,
            attack_steps=2,
            epsilon_255=1,
            step_255=1.0,
            seed=0,
            device=str(self.device),
        )

    def seconds(self, run: Callable[[], Any], repeats: int = 5, warmup: int = 2) -> float:
        """Median of one call; a tiny run takes a single repeat."""
        return timing.seconds_of(run, self.device, *((1, 1) if self.tiny else (repeats, warmup)))

    def peak_gib(self) -> float | None:
        """Peak memory since `release_memory`; see `benchmarks.timing.peak`."""
        peak_bytes = timing.peak(self.device)
        return peak_bytes / 2**30 if peak_bytes is not None else None

    def held_gib(self) -> float | None:
        """Most memory since `release_memory` that torch held, with what CUDA graphs keep and what
        it caches; on a CPU as `peak_gib`."""
        if not self.cuda:
            return self.peak_gib()
        return torch.cuda.max_memory_reserved(self.device) / 2**30

    def release_memory(self) -> None:
        """Before something whose memory is measured."""
        timing.release_memory(self.device)

    def _tiny_config(self) -> Path:
        file = self.scratch / "tiny-vit.json"
        file.write_text(json.dumps(TINY_MODEL), encoding="utf-8")
        return file
