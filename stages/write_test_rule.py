"""Write how one experiment's segmenter is used on a photo, so its folder is all that is needed to use it elsewhere."""

from weakseg.crf import crf_params
from weakseg.inference import Rule, write_rule
from weakseg.runtime import arguments, run
from weakseg.settings import CRF, ExperimentTest, Postprocess, read_keys


def main() -> None:
    paths = arguments(__doc__, named="which of params.yaml's experiments", out="JSON to write").parse_args()
    test: ExperimentTest
    settings: Postprocess
    test, geometry, settings = read_keys(
        "experiments.{name}.test", "experiments.{name}.train.geometry", "postprocess", options=paths
    )
    crf: CRF = read_keys(f"crf.{test.crf}", options=paths)
    write_rule(
        paths.out, Rule(geometry, test.input_px, crf_params(crf).scaled(1 / settings.sigma_scale), settings.backend)
    )


if __name__ == "__main__":
    run(main)
