"""Stages that start in no time: `weakseg run` imports the slow libraries once, and each stage is a fork of that process."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
