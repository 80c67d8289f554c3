"""The data sets by name: fetched once, and put where the profiles look for them."""

from collections.abc import Callable
from pathlib import Path

from weakseg.download.sources import SOURCES, Sources, read_sources

NOTES = {
    "voc12": "data.root; lists train, trainaug, val. VOC's test photos need an account at host.robots.ox.ac.uk:8080: unpack "
    "them into the same folder and name their list in data.test_list",
    "msra": "saliency.root, with saliency.boxes: UserData/msra.txt",
    "ecssd": "saliency.root, with saliency.boxes: UserData/boxes.txt",
    "coco14": "data.root; `make profile NAME=coco14` has the settings",
}


def fetch_data_set(name: str, sources_file: Path = SOURCES) -> str:
    """Fetch one of `NOTES`; a line that says where it is and which settings name it. A folder that is there stays as it is.

    Raises UserError for what cannot be fetched.
    """
    sources = read_sources(sources_file)
    folder = Path(getattr(sources, name).folder)
    if folder.is_dir() and any(folder.iterdir()):
        return f"{folder}: is there already; delete it to make it again"
    return f"{_makers()[name](sources)}: {NOTES[name]}"


def _makers() -> dict[str, Callable[[Sources], Path]]:
    from weakseg.download.saliency_sets import make_ecssd, make_msra
    from weakseg.download.voc import make_voc12

    return {"voc12": make_voc12, "msra": make_msra, "ecssd": make_ecssd, "coco14": _coco14}


def _coco14(sources: Sources) -> Path:
    from weakseg.download.coco import make_coco14

    return make_coco14(sources)
