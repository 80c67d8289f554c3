"""weakseg: semantic segmentation from image-level tags (SEC and Guided Segmentation).

`weakseg.load_segmenter(folder).segment(image)` uses a trained model. Importing weakseg imports nothing else: its rooms,
and torch with them, are imported when they are first used. A room's names, with types, are in its `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
