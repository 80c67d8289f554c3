"""Records, label maps and arrays that the tests of the file formats share."""

import numpy as np

from weakseg.files.manifest import Record, SaliencyRecord

RECORD = Record("a", "train", "photos/a.jpg", "masks/a.png", 12, 10, (1, 20), "0f" * 32)
RECORDS = [
    RECORD,
    Record('odd, "quoted" ñ', "val", "photos/odd, ñ.jpg", "", 8, 9, (), "1f" * 32),
    Record("001", "test", "photos/001.jpg", "", 4097, 33, (3,), "2f" * 32),
]
SALIENCY_RECORD = SaliencyRecord("s", "photos/s.jpg", "", 12, 10, 0.1, 1 / 3, 11.5, 9.25, "3f" * 32)


def labels_of(random_seed: int) -> np.ndarray:
    return np.random.default_rng(random_seed).choice([0, 1, 20, 255], (7, 9)).astype(np.uint8)


def arrays() -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        ("a/maps", rng.random((2, 3, 4)).astype(np.float16)),
        ("a/labels", np.array([3, 1], np.uint8)),
        ("ñ/scalar", np.array(7, np.int64)),
        ("b/columns", np.asfortranarray(rng.random((3, 4)))),
        ("b/empty", np.zeros((0, 5), bool)),
    ]
