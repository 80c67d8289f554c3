"""Write how one experiment's segmenter is used on a photo, so that its folder is all it takes to use it elsewhere."""

from weakseg.crf import CRFParams
from weakseg.inference import Rule, write_rule
from weakseg.runtime import arguments, run
from weakseg.settings import Experiment, InferenceCRF, read_keys


def main() -> None:
    parser = arguments(__doc__, out="JSON to write")
    parser.add_argument("--experiment", required=True, help="which of params.yaml's experiments")
    parser.add_argument("--crf", required=True, help="which of params.yaml's CRF settings")
    paths = parser.parse_args()
    crf: InferenceCRF
    experiment: Experiment
    crf, experiment = read_keys(f"crf.{paths.crf}", f"experiments.{paths.experiment}", files=paths.params)
    write_rule(
        paths.out, Rule(experiment.geometry, experiment.test_input_px, CRFParams(**crf.model_dump(exclude={"backend"})))
    )


if __name__ == "__main__":
    run(main)
