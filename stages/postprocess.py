"""Refine one experiment's scores with the dense CRF at the photos' size."""

from weakseg.batch import write_archive
from weakseg.crf import TestTimeCRF, crf_params
from weakseg.files import ArrayArchive, label_image, read_manifest
from weakseg.inference import RefinedMasks
from weakseg.runtime import arguments, run
from weakseg.settings import CRF, Postprocess, read_keys


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's experiments", manifest="manifest", scores=".npz of scores",
        out=".zip to write", checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    name: str
    settings: Postprocess
    name, geometry, settings = read_keys(
        "experiments.{name}.test.crf", "experiments.{name}.train.geometry", "postprocess", options=paths
    )
    crf: CRF = read_keys(f"crf.{name}", options=paths)
    masks = RefinedMasks(
        ArrayArchive(paths.scores),
        geometry,
        TestTimeCRF(crf_params(crf).scaled(1 / settings.sigma_scale), settings.backend),
    )
    write_archive(
        paths.out, read_manifest(paths.manifest, "val", "test"), masks, lambda _, labels: label_image(labels),
        "dense CRF", depends_on=[geometry, settings.model_dump(), crf.model_dump()],
        files={"manifest": paths.manifest, "scores": paths.scores}, checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
