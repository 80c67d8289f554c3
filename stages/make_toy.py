"""Draw the built-in data set: a small VOC-layout folder of tagged pictures and a saliency set with boxes."""

from weakseg.files import atomic_folder
from weakseg.runtime import arguments, run
from weakseg.settings import MakeToy, read_keys
from weakseg.toy import write_toy


def main() -> None:
    paths = arguments(__doc__, out="folder to write, new or empty: voc/ and saliency/").parse_args()
    settings: MakeToy = read_keys("make_toy", options=paths)
    with atomic_folder(paths.out) as folder:
        write_toy(folder, **settings.model_dump())


if __name__ == "__main__":
    run(main)
