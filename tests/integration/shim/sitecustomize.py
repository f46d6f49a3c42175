"""Lets a torchvision built for CUDA be imported beside a CPU-only torch.

It registers kernels for operators that its own binary, which cannot be loaded, would have
declared; so they are declared here, at the moment somebody imports torchvision. Found by
every process of the test through PYTHONPATH.
"""

import importlib.abc
import sys


class _Declare(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            if torch.version.cuda is None:
                library = torch.library.Library("torchvision", "DEF")
                for operator in ("nms", "qnms"):
                    library.define(
                        f"{operator}(Tensor dets, Tensor scores, float threshold) -> Tensor"
                    )
                torch._torchvision_operators = library  # declared as long as it lives


sys.meta_path.insert(0, _Declare())
