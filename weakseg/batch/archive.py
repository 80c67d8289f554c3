"""The one call that a batch stage makes: from what is done to one photo to an archive of all.

Photos are shared out over the processes of a torchrun job or over shards (WEAKSEG_SHARD=2/8, for job arrays); what an
interrupted run has finished is skipped; the rest goes through CPU workers or, with a network on a GPU, in batches. The
archive is written whole, in order, with the same bytes whichever process computed which photo.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt
from PIL import Image

from weakseg.batch.partial_results import Entries, PartialResults
from weakseg.batch.tasks import NetworkTask, window_size
from weakseg.batch.workers import map_images
from weakseg.errors import UserError
from weakseg.files import Record, SaliencyRecord, npy_bytes, png_bytes, write_entries
from weakseg.runtime import identity_of, is_first, launch

ENTRY_SUFFIXES = {".npz": ".npy", ".zip": ".png"}  # what is in an archive
Item = TypeVar("Item")
AnyRecord = TypeVar("AnyRecord", Record, SaliencyRecord)
Made = Image.Image | Iterable[tuple[str, npt.NDArray[Any]]]  # a picture for a .zip, named arrays for an .npz


def write_archive(
    out: Path, records: Sequence[AnyRecord], one: Callable[[AnyRecord], Any] | NetworkTask[Any],
    stored: Callable[[AnyRecord, Any], Made], description: str, *,
    depends_on: Sequence[Any], files: Mapping[str, Path], checkpoints: Path,
    also: Mapping[Path, Callable[[AnyRecord, Any], Made]] | None = None,
) -> None:  # fmt: skip
    """Write `out` (.npz or .zip) from what `one` makes of each record.

    one: a picklable function of a record, or a `NetworkTask`; a photo's result must not
    depend on other photos. stored: that result as the archive stores it: an image (`<image_id>.png`) or named arrays.
    depends_on, files: the settings and input files that the results depend on besides the code; partial results of
    others are not used. also: other archives that get what they store of the same results; there is one .npz and one
    .zip at most.
    """
    outs = {out: stored, **(also or {})}
    kind = one.device_kind if isinstance(one, NetworkTask) else "cpu"
    partial = PartialResults(checkpoints, out, identity_of(kind, *depends_on, files=files))
    number, count = _own_share()
    size = window_size(one)
    windows = [records[start : start + size] for start in range(0, len(records), size)]
    own = windows[len(windows) * number // count : len(windows) * (number + 1) // count]
    done = partial.done()
    _tell(out, len(done), len(records), partial)
    todo = [record for window in own if not all(record.image_id in done for record in window) for record in window]
    results = zip(todo, _results(one, todo, description), strict=True)
    made = ((record.image_id, [entry for store in outs.values() for entry in _encoded(record.image_id, store(record, found))])
            for record, found in results if record.image_id not in done)  # fmt: skip
    partial.append(f"{number + 1}-of-{count}", made)
    _join(list(outs), records, partial)


def _tell(out: Path, done: int, total: int, partial: PartialResults) -> None:
    if is_first() and done:
        print(f"{out}: {done} of {total} photos are done; resuming", file=sys.stderr)
    elif is_first():
        partial.tell_of_others()


def _results(one: Any, records: Sequence[Any], description: str) -> Iterator[Any]:
    if not isinstance(one, NetworkTask):
        return map_images(one, records, description)
    from weakseg.batch.photo_batches import through_network  # imports torch

    return through_network(one, records, description)


def _join(outs: Sequence[Path], records: Sequence[Any], partial: PartialResults) -> None:
    """The first process writes the archives once all are here; a shard of a job array leaves that to a later run."""
    if _shard() is not None:
        told = (
            f"{outs[0]}: shard {os.environ['WEAKSEG_SHARD']} is done; run the stage without WEAKSEG_SHARD to join all"
        )
        print(told, file=sys.stderr)
        return
    _meet()
    if is_first():
        done = partial.done()
        for out in outs:
            entries = partial.entries((record.image_id for record in records), done)
            suffix = ENTRY_SUFFIXES.get(out.suffix, "")
            write_entries(out, (entry for entry in entries if entry[0].endswith(suffix)))
        partial.remove()
    _meet()


def _meet() -> None:
    if launch.processes() > 1:
        from weakseg.runtime import wait  # imports torch

        wait()


def _encoded(image_id: str, made: Made) -> Entries:
    """A photo's result as an archive stores it."""
    if isinstance(made, Image.Image):
        return [(f"{image_id}.png", png_bytes(made))]
    return [(f"{name}.npy", npy_bytes(array)) for name, array in made]


def _own_share() -> tuple[int, int]:
    """Which part of how many this process computes."""
    shard = _shard()
    return shard if shard is not None else (launch.rank(), launch.processes())


def _shard() -> tuple[int, int] | None:
    """WEAKSEG_SHARD=i/n, i from 1 to n; None if it is not set. Raises UserError for anything else."""
    text = os.environ.get("WEAKSEG_SHARD")
    if not text:
        return None
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(f"WEAKSEG_SHARD: {text!r} is not a shard; use 1/8 to 8/8 for eight of them")
    if launch.processes() > 1:
        raise UserError("WEAKSEG_SHARD is for independent runs; unset it or torchrun's variables (PET_…)")
    return int(found[1]) - 1, int(found[2])
