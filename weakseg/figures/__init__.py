"""The papers' picture figures, in their own arrangement, from whatever has run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
