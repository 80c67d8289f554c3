"""Fuse tags, seeds and saliency into guide masks by one of GS's rules: by chance (G0) or by seeds (G2)."""

from weakseg.batch import write_archive
from weakseg.crf import crf_params
from weakseg.files import ImageArchive, label_image, read_manifest
from weakseg.runtime import arguments, filled, run
from weakseg.settings import CRF, MakeGuides, read_keys
from weakseg.supervision import PhotoGuide


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's make_guides", manifest="manifest", seeds=".zip of seeds",
        saliency=".zip of saliency", out=".zip to write", checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    settings: MakeGuides = read_keys("make_guides.{name}", options=paths)
    crf: CRF = read_keys(f"crf.{settings.crf}", options=paths)
    filled(paths, seeds=settings.seeds, saliency=settings.saliency)
    guide = PhotoGuide(settings, crf_params(crf), ImageArchive(paths.seeds), ImageArchive(paths.saliency))
    write_archive(
        paths.out, read_manifest(paths.manifest, "train"), guide, lambda _, labels: label_image(labels),
        f"guides {paths.name}", depends_on=[settings.model_dump(), crf.model_dump()],
        files={"manifest": paths.manifest, "seeds": paths.seeds, "saliency": paths.saliency},
        checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
