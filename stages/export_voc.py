"""Pack one experiment's masks of the test photos for VOC's evaluation server."""

from weakseg.evaluation import check_submission, write_submission
from weakseg.files import ImageArchive, read_class_names, read_manifest
from weakseg.runtime import arguments, run


def main() -> None:
    paths = arguments(
        __doc__,
        reads_params=False,
        named="which experiment",
        manifest="manifest",
        classes="class names",
        masks=".zip of masks",
        out=".tar to write",
    ).parse_args()
    records, masks = read_manifest(paths.manifest, "test"), ImageArchive(paths.masks)
    check_submission(records, masks, read_class_names(paths.classes))
    write_submission(paths.out, records, masks)
    print(f"{paths.out}: masks of {len(records)} test photos, ready for upload as comp6")


if __name__ == "__main__":
    run(main)
