"""The papers' numbers beside ours: `ablations/published.yaml`, what is compared with what, and the tables made from it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
