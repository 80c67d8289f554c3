"""Saliency of another tool: a folder of its maps, or its network as an ONNX file (such as ISNet's, Qin et al. 2022)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from weakseg.arrays import Photo
from weakseg.errors import UserError
from weakseg.files import Record
from weakseg.images import read_photo, read_record, resize_aligned
from weakseg.settings import ImportSaliency

SUFFIXES = (".png", ".jpg", ".jpeg")
Map = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ForeignSaliency:
    """A photo's saliency (H, W) uint8 from a folder of maps, or from an ONNX network. Raises UserError naming the file."""

    source: Path
    settings: ImportSaliency

    def __call__(self, record: Record) -> Map:
        if self.source.is_dir():
            return from_folder(self.source, record)
        return predicted(_session(self.source), self.source, read_record(record), self.settings)


def from_folder(folder: Path, record: Record) -> Map:
    """`<image_id>.png` or .jpg, grey, brought to the photo's size where it has the photo's proportions."""
    found = [path for suffix in SUFFIXES if (path := folder / f"{record.image_id}{suffix}").is_file()]
    if not found:
        raise UserError(f"{folder}: has no map of {record.image_id} ({', '.join(SUFFIXES)})")
    grey = read_photo(found[0]).max(2)
    height, width = grey.shape
    if abs(height * record.width - width * record.height) > max(record.width, record.height, width, height):
        raise UserError(f"{found[0]}: has {width}x{height} px, the photo {record.width}x{record.height}: not its map")
    return np.asarray(resize_aligned(grey, record.height, record.width), np.uint8)


def predicted(session: Any, path: Path, image: Photo, settings: ImportSaliency) -> Map:
    """The network's first output, spread from its least to its greatest value over 0..255."""
    side = settings.input_px
    pixels = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
    pixels = (pixels - np.array(settings.mean, np.float32)) / np.array(settings.std, np.float32)
    name = session.get_inputs()[0].name
    try:
        output = np.asarray(session.run(None, {name: pixels.transpose(2, 0, 1)[None]})[0], np.float32).squeeze()
    except Exception as error:  # of the runtime, which has a class of its own for each kind
        raise UserError(f"{path}: does not take photos as 1x3x{side}x{side}: {error}") from None
    if output.ndim != 2 or not np.isfinite(output).all():
        raise UserError(f"{path}: its first output is no finite map but of shape {output.shape}")
    spread = float(output.max() - output.min())
    shares = (output - output.min()) / spread if spread > 0 else np.zeros_like(output)
    return np.rint(resize_aligned(shares, *image.shape[:2]).clip(0, 1) * 255).astype(np.uint8)


_sessions: dict[Path, Any] = {}  # of this process


def _session(path: Path) -> Any:
    if path not in _sessions:
        try:
            import onnxruntime
        except ImportError:
            raise UserError(f"{path}: needs the extra package onnxruntime: `pip install onnxruntime`") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # photos are shared out over processes
        try:
            _sessions[path] = onnxruntime.InferenceSession(path, options, onnxruntime.get_available_providers())
        except Exception as error:  # of the runtime, as above
            raise UserError(f"{path}: neither a folder of maps nor an ONNX network ({error})") from None
    return _sessions[path]
