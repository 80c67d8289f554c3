"""Draw the built-in data set: a small VOC-layout folder of tagged pictures and a saliency set with boxes."""

import shutil

from weakseg.runtime import arguments, run
from weakseg.settings import MakeToy, read_keys
from weakseg.toy import write_toy


def main() -> None:
    paths = arguments(__doc__, out="folder to write: voc/ and saliency/").parse_args()
    settings: MakeToy = read_keys("make_toy", options=paths)
    if paths.out.exists():
        shutil.rmtree(paths.out)
    write_toy(paths.out, **settings.model_dump())


if __name__ == "__main__":
    run(main)
