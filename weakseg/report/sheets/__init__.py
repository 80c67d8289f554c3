"""Contact sheets: a few photos beside what was made of them, as one picture."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
