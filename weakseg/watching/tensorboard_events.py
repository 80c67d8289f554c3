"""Losses for TensorBoard while a training runs, if WEAKSEG_TENSORBOARD names a folder; `tensorboard --logdir FOLDER`.

The file is a sequence of records (TensorFlow's TFRecord), each an `Event` message of tensorboard/compat/proto/event.proto.
Only the few fields of scalars are written, so neither TensorBoard nor protobuf has to be installed here.
"""

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from weakseg.errors import UserError

VARIABLE = "WEAKSEG_TENSORBOARD"

CASTAGNOLI = 0x82F63B78  # CRC-32C's polynomial, reversed


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (CASTAGNOLI if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


class EventFile:
    """One run's file; written at once, so that a reader beside it sees each row."""

    def __init__(self, folder: Path) -> None:
        name = f"events.out.tfevents.{int(time.time())}.weakseg.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / name).open("wb", buffering=0)
        except OSError as error:
            raise UserError(f"{VARIABLE}: {folder} cannot be written: {error}") from None
        self._write(_field(3, b"brain.Event:2"))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One number by tag, all of the same step."""
        each = (
            _field(1, _field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)) for tag, value in values.items()
        )
        self._write(b"\x10" + varint(step) + _field(5, b"".join(each)))

    def _write(self, content: bytes) -> None:
        event = b"\x09" + struct.pack("<d", time.time()) + content
        length = struct.pack("<Q", len(event))
        self._file.write(length + _checksum(length) + event + _checksum(event))

    def close(self) -> None:
        self._file.close()


def event_file(run_name: str) -> EventFile | None:
    """In the folder that the environment names, below it one of the run's name (`models/segmenter/sec`)."""
    folder = os.environ.get(VARIABLE)
    return EventFile(Path(folder) / run_name.strip("/").replace("..", "_")) if folder else None


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    """Protobuf's integers: seven bits a byte, the least first, the high bit set on all but the last."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def crc32c(content: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _checksum(content: bytes) -> bytes:
    """TFRecord's masked CRC-32C."""
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
