"""GS's seeds: thresholded heat maps, without or with a dense CRF, as label maps at the photos' size, 0 = none."""

from weakseg.batch import write_archive
from weakseg.cams import chosen_threshold
from weakseg.crf import crf_params
from weakseg.files import ArrayArchive, label_image, read_cams, read_manifest
from weakseg.runtime import arguments, filled, run
from weakseg.settings import MakeSeeds, read_keys
from weakseg.supervision import PhotoSeeds


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", cams="heat maps of the foreground classes", out=".zip to write",
        checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    settings: MakeSeeds = read_keys("make_seeds", options=paths)
    crf = read_keys(f"crf.{settings.crf}", options=paths)
    filled(paths, net=settings.net)
    records, cams = read_manifest(paths.manifest, "train"), ArrayArchive(paths.cams)
    maps = (read_cams(cams, record)[1] for record in records)
    threshold = chosen_threshold(settings.foreground, maps, "seeds")
    write_archive(
        paths.out, records, PhotoSeeds(cams, threshold, crf and crf_params(crf)), lambda _, seeds: label_image(seeds),
        "seeds", depends_on=[settings.model_dump(), threshold, crf and crf.model_dump()],
        files={"manifest": paths.manifest, "cams": paths.cams}, checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
