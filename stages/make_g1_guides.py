"""Fuse tags and saliency into guide masks by GS's rule G1: a classifier names each component."""

from weakseg.batch import write_archive
from weakseg.files import label_image, read_manifest
from weakseg.networks import files_of
from weakseg.runtime import arguments, filled, run
from weakseg.settings import MakeG1Guides, read_keys
from weakseg.supervision import G1Task


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's make_g1_guides", manifest="manifest", saliency=".zip of saliency",
        classifier="folder of the classifier", out=".zip to write", checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    settings: MakeG1Guides = read_keys("make_g1_guides.{name}", options=paths)
    filled(paths, classifier=settings.classifier)
    write_archive(
        paths.out, read_manifest(paths.manifest, "train"), G1Task(paths.classifier, settings, paths.saliency),
        lambda _, labels: label_image(labels), f"guides {paths.name}", depends_on=[settings.model_dump()],
        files={"manifest": paths.manifest, "saliency": paths.saliency, **files_of(paths.classifier)},
        checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
