"""Getting the public data sets: archives fetched, checked and unpacked into the layouts that the pipeline reads."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
