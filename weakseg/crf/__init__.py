"""Dense CRFs by mean field (Krähenbühl & Koltun, NIPS 2011): on the permutohedral lattice, or exactly."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
