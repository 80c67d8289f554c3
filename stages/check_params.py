"""Check params.yaml as a whole, before DVC touches any output: outputs are named after its entries.

All other stages depend on this one, so a name such as `../x` never becomes a path that DVC removes.
"""

from pathlib import Path

from weakseg.files import write_text
from weakseg.runtime import arguments, run
from weakseg.settings import check_params


def main() -> None:
    paths = arguments(__doc__, out="file to write, which says nothing but that all is well").parse_args()
    check_params(Path(paths.params[0]))
    write_text(paths.out, "checked\n")


if __name__ == "__main__":
    run(main)
