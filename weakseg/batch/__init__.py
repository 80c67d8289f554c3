"""Work over many photos: shared out over processes, spread over workers or GPU batches, resumed, written whole."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
