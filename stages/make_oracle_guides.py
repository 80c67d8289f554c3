"""Fuse seeds and the ground truth's foreground into guide masks: table 2's upper bound, which sees masks."""

from weakseg.batch import write_archive
from weakseg.crf import crf_params
from weakseg.files import ImageArchive, label_image, read_manifest
from weakseg.runtime import arguments, run
from weakseg.settings import CRF, MakeOracleGuides, read_keys
from weakseg.supervision import OracleGuide


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", seeds=".zip of seeds", ground_truth=".zip of masks", out=".zip to write",
        checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    settings: MakeOracleGuides = read_keys("make_oracle_guides", options=paths)
    crf: CRF = read_keys(f"crf.{settings.crf}", options=paths)
    seeds, truth = ImageArchive(paths.seeds), ImageArchive(paths.ground_truth)
    records = [record for record in read_manifest(paths.manifest, "train") if record.image_id in truth]
    write_archive(
        paths.out, records, OracleGuide(settings, crf_params(crf), seeds, truth), lambda _, labels: label_image(labels),
        "oracle guides", depends_on=[settings.model_dump(), crf.model_dump()],
        files={"manifest": paths.manifest, "seeds": paths.seeds, "truth": paths.ground_truth},
        checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
