"""Better pseudo-masks from heat maps, seeds and guides: boundary walks, pixel-adaptive filters, CRFs, proposals."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
