"""The `weakseg` command: one subcommand for each thing that a user does."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
