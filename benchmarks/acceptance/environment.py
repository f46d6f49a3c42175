"""Device, driver and versions."""

import platform

import numpy as np
import open_clip
import torch
import torchvision

from benchmarks.acceptance.context import Context
from benchmarks.acceptance.report import Result


def environment(context: Context, result: Result) -> None:
    """Versions, and what the device says of itself."""
    result |= {
        "device": str(context.device),
        "name": platform.machine(),
        "tiny": context.tiny,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "open_clip": open_clip.__version__,
        "numpy": np.__version__,
    }
    if context.cuda:
        properties = torch.cuda.get_device_properties(context.device)
        result |= {
            "name": properties.name,
            "multiprocessors": properties.multi_processor_count,
            "memory_gib": properties.total_memory / 2**30,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
