"""What VOC's server gets: the right names, sizes and ids, in bytes that depend on the masks alone."""

import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from weakseg.errors import UserError
from weakseg.evaluation.voc_server import check_submission, write_submission
from weakseg.files.archives import ImageArchive, write_images
from weakseg.files.class_names import VOC_CLASSES
from weakseg.files.label_masks import label_image, voc_palette
from weakseg.files.manifest import Record

CLASSES = ["background", *VOC_CLASSES]


def record(image_id: str, height: int, width: int) -> Record:
    return Record(image_id, "test", f"{image_id}.jpg", "", width, height, (), "")


def archive(folder: Path, masks: dict[str, npt.NDArray[np.uint8]]) -> ImageArchive:
    write_images(folder / "masks.zip", ((key, label_image(mask)) for key, mask in masks.items()))
    return ImageArchive(folder / "masks.zip")


def mask(height: int, width: int, label: int = 20) -> npt.NDArray[np.uint8]:
    labels = np.zeros((height, width), np.uint8)
    labels[1:, 2:] = label
    return labels


def test_the_tar_holds_each_test_photos_mask_where_the_server_looks(tmp_path: Path) -> None:
    wanted = {"2008_000006": mask(5, 7), "2008_000001": mask(4, 4, 1), "2012_123456": mask(3, 9, 15)}
    records = [record(key, *labels.shape) for key, labels in wanted.items()]
    masks = archive(tmp_path, wanted | {"2007_000033": mask(2, 3)})  # a val photo: not sent
    check_submission(records, masks, CLASSES)
    write_submission(tmp_path / "one.tar", records, masks)
    with tarfile.open(tmp_path / "one.tar") as packed:
        entries = packed.getmembers()
        assert [entry.name for entry in entries] == [
            f"results/VOC2012/Segmentation/comp6_test_cls/{key}.png" for key in sorted(wanted)
        ]
        for entry in entries:
            assert (entry.isfile(), entry.mtime, entry.uid, entry.gid, entry.mode) == (True, 0, 0, 0, 0o644)
            file = packed.extractfile(entry)
            assert file is not None
            picture = Image.open(BytesIO(file.read()))
            assert picture.mode == "P"
            labels = wanted[Path(entry.name).stem]
            np.testing.assert_array_equal(np.asarray(picture), labels)
            np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), voc_palette()[labels])
    write_submission(tmp_path / "two.tar", records[::-1], masks)
    assert (tmp_path / "two.tar").read_bytes() == (tmp_path / "one.tar").read_bytes()


def test_all_that_the_server_would_refuse_is_told_at_once(tmp_path: Path) -> None:
    wanted = {"2008_000001": mask(4, 4), "2008_000002": mask(4, 4, 255), "cat": mask(4, 4)}
    records = [
        record("2008_000001", 4, 5),
        record("2008_000002", 4, 4),
        record("cat", 4, 4),
        record("2008_000009", 4, 4),
    ]
    with pytest.raises(UserError) as caught:
        check_submission(records, archive(tmp_path, wanted), ["background", *VOC_CLASSES[::-1]])
    lines = str(caught.value).splitlines()
    assert "5 problems" in lines[0]
    expected = ["not VOC's 20 in VOC's order", "2008_000001: the mask has 4x4 px, its photo 5x4 px",
                "2008_000002: the mask holds class id 255", "cat: is no id", "has no entry 2008_000009.png"]  # fmt: skip
    assert all(words in line for words, line in zip(expected, lines[1:], strict=True))


def test_no_test_photos_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set data\.test_list"):
        check_submission([], archive(tmp_path, {}), CLASSES)
