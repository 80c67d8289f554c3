"""A model's folder to hand on: its files, and a card that says what it is, what it learned from, and how good it is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weakseg.errors import UserError
from weakseg.files import file_sha256, write_bytes
from weakseg.zoo.places import DESCRIPTION, FILES, WEIGHTS

CARD = "README.md"


@dataclass(frozen=True)
class Card:
    """What the model's own files do not tell. `licence` is an SPDX name; `metrics` is a metrics/<experiment>.json."""

    name: str
    licence: str
    data: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    made_by: Sequence[str] = ()  # commands that train it again

    def text(self, description: Mapping[str, Any], digest: str, place: str = "") -> str:
        """Markdown, with the front matter that hubs read."""
        classes = ", ".join(description["class_names"][1:])
        commands = "\n".join(self.made_by)
        again = f"\n## Train it again\n\n```sh\n{commands}\n```\n" if commands else ""
        return (
            f"---\nlicense: {json.dumps(self.licence)}\nlibrary_name: weakseg\npipeline_tag: image-segmentation\n"
            f"tags: [weakly-supervised, image-level-labels, semantic-segmentation]\n---\n\n# {self.name}\n\n"
            f"A segmenter trained by weakseg from image-level tags.\n\n"
            f"- **Network**: {description['backbone']}, head {description['head']}\n"
            f"- **Classes** ({len(description['class_names']) - 1}): {classes}\n"
            f"- **Data**: {self.data}\n- **Licence**: {self.licence}\n- **SHA-256 of the weights**: `{digest}`\n"
            f"\n## Metrics\n\n{self._metrics()}\n"
            f'\n## Use\n\n```python\nimport weakseg\n\nsegmenter = weakseg.load_segmenter("{place or "this folder"}")\n'
            f'mask = segmenter.segment("photo.jpg")  # class ids, uint8 (H, W)\n```\n{again}'
        )

    def _metrics(self) -> str:
        if self.metrics.get("miou") is None:
            return "Not measured: there were no masks to compare with."
        count = self.metrics.get("images_with_ground_truth")
        rows = [("mean IoU", self.metrics["miou"], self.metrics["miou_crf"])]
        rows += [(name, value, self.metrics["iou_crf"][name]) for name, value in self.metrics["iou"].items()]
        head = f"On {count} held-out photos, in percent.\n\n| | without CRF | with CRF |\n|---|---:|---:|\n"
        return head + "\n".join(f"| {name} | {_shown(raw)} | {_shown(crf)} |" for name, raw, crf in rows)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def publish(model: Path, card: Card, to: str) -> str:
    """Write the model's files and its card to the folder `to`, or upload them to `hub:ORGANIZATION/NAME`; says where.

    Raises UserError for a model that is incomplete or damaged, a folder with other files of these names, and a hub that
    refuses.
    """
    contents = _checked(model)
    description = json.loads(contents[DESCRIPTION])
    card_text = card.text(description, description["weights_sha256"], to if to.startswith("hub:") else "")
    contents[CARD] = card_text.encode()
    if to.startswith("hub:"):
        return _upload(contents, to.removeprefix("hub:"))
    folder = Path(to)
    taken = [name for name in contents if (folder / name).exists() and (folder / name).read_bytes() != contents[name]]
    if taken:
        raise UserError(f"{folder}: has another {', '.join(taken)} already; choose another folder")
    for name in (*FILES[::-1], CARD):
        write_bytes(folder / name, contents[name])
    return str(folder)


def _checked(model: Path) -> dict[str, bytes]:
    missing = [name for name in FILES if not (model / name).is_file()]
    if missing:
        raise UserError(
            f"{model}: has no {', '.join(missing)}; name a segmenter's folder, e.g. models/segmenter/guided"
        )
    contents = {name: (model / name).read_bytes() for name in FILES}
    if file_sha256(model / WEIGHTS) != json.loads(contents[DESCRIPTION]).get("weights_sha256"):
        raise UserError(f"{model / WEIGHTS}: is not the file that {DESCRIPTION} beside it was written for")
    return contents


def _upload(contents: Mapping[str, bytes], name: str) -> str:
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
    except ModuleNotFoundError:
        raise UserError(f"hub:{name}: huggingface-hub is not installed; `pip install 'weakseg[hub]'`") from None
    try:
        hub = HfApi()
        hub.create_repo(name, exist_ok=True)
        files = [CommitOperationAdd(path, content) for path, content in contents.items()]
        hub.create_commit(name, files, commit_message="Model and card")
    except (OSError, ValueError) as error:
        raise UserError(f"hub:{name}: refused ({error})") from None
    return f"hub:{name}"
