"""Take over another tool's class-agnostic masks of the training photos: COCO run lengths or PNGs."""

from pathlib import Path

from weakseg.batch import write_archive
from weakseg.files import content_sha256, proposal_arrays, read_manifest
from weakseg.refinement import ForeignProposals
from weakseg.runtime import arguments, run
from weakseg.settings import ImportProposals, read_keys


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's import_proposals", manifest="manifest", out=".npz to write",
        checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    settings: ImportProposals = read_keys("import_proposals.{name}", options=paths)
    source = Path(settings.from_)
    write_archive(
        paths.out, read_manifest(paths.manifest, "train"), ForeignProposals(source),
        lambda record, masks: proposal_arrays(record.image_id, masks), f"proposals {paths.name}",
        depends_on=[settings.model_dump(), content_sha256(source)], files={"manifest": paths.manifest},
        checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
