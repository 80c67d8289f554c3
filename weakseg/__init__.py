"""weakseg: semantic segmentation from image-level tags (SEC and Guided Segmentation).

`weakseg.load_segmenter(folder).segment(image)` uses a trained model; `__init__.pyi` has the types.
"""

from importlib import import_module
from typing import Any

_MODULE_OF = {"PhotoSegmenter": "weakseg.photo_segmenter", "load_segmenter": "weakseg.photo_segmenter"}


def __getattr__(name: str) -> Any:
    """Imports torch only for who asks for a segmenter; every module of the package passes through this file."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
