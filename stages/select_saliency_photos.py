"""Leave out saliency photos that show the target classes, by the tag classifier's own scores (GS §6.1)."""

import numpy as np

from weakseg.files import read_saliency_manifest, write_saliency_manifest
from weakseg.networks import rebuild_classifier
from weakseg.runtime import arguments, filled, pick_device, run, with_progress
from weakseg.settings import SelectSaliencyPhotos, read_keys
from weakseg.training import scores, without_classes

PUBLISHED = "11 041 of MSRA's 25k"  # what GS keeps (GS §6.1)


def main() -> None:
    paths = arguments(
        __doc__, manifest="saliency manifest", classifier="folder of the tag classifier", out="CSV to write"
    ).parse_args()
    settings: SelectSaliencyPhotos = read_keys("select_saliency_photos", options=paths)
    filled(paths, classifier=settings.classifier)
    records = kept = read_saliency_manifest(paths.manifest)
    if settings.exclude_scores_above is not None:
        network, description = rebuild_classifier(paths.classifier)
        device = pick_device()
        batches = scores(network.to(device), records, description["input_px"], description["geometry"], device)
        best = np.concatenate([batch.max(1) for batch in with_progress(batches, "scores", unit="step")])
        kept = without_classes(records, best, settings.exclude_scores_above)
    write_saliency_manifest(paths.out, kept)
    print(f"{len(kept)} of {len(records)} saliency photos kept; the paper keeps {PUBLISHED}")


if __name__ == "__main__":
    run(main)
