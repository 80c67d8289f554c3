"""Models away from the clone that trained them: where they come from, and the card that travels with them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
