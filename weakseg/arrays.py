"""Names for the arrays that are passed around everywhere."""

import numpy as np
import numpy.typing as npt

Photo = npt.NDArray[np.uint8]  # (H, W, 3) RGB
LabelMap = npt.NDArray[np.uint8]  # (H, W) class ids, 0 = background, 255 = ignore
Mask = npt.NDArray[np.bool_]  # (H, W)
Maps = npt.NDArray[np.float32]  # (K, H, W), one map per class
