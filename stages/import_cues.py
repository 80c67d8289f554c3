"""SEC's localization cues as its authors published them, for the training photos of this data set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy.typing as npt

from weakseg.files import cue_arrays, read_class_names, read_manifest, write_arrays
from weakseg.runtime import arguments, run, with_progress
from weakseg.settings import ImportCues, read_keys
from weakseg.supervision import check_matches, read_published_cues


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's import_cues", manifest="manifest", classes="class names",
        out=".npz to write",
    ).parse_args()  # fmt: skip
    settings: ImportCues = read_keys("import_cues.{name}", options=paths)
    published = read_published_cues(Path(settings.cues), Path(settings.image_list))
    records = read_manifest(paths.manifest, "train")
    check_matches(published, records, read_class_names(paths.classes))
    print(f"{len(records)} training photos have published cues; {len(published) - len(records)} others are left out")

    def arrays() -> Iterator[tuple[str, npt.NDArray[Any]]]:
        for record in with_progress(records, "published cues"):
            yield from cue_arrays(record.image_id, published[record.image_id][1])

    write_arrays(paths.out, arrays())


if __name__ == "__main__":
    run(main)
