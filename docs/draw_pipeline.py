"""Draws the pipeline from dvc.yaml: `python -m docs.draw_pipeline` rewrites docs/pipeline.md."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

PAGE = Path("docs/pipeline.md")
MASKS = "pack_masks"  # all its arrows are drawn: they carry the ground truth
ANY_OF = {  # whose files a path may be that params.yaml chooses freely, by the last part of its key
    "supervision": ("pack_masks", "make_cues", "import_cues", "make_seeds", "make_guides", "make_g1_guides", "refine"),
    "start_from": ("train_classifier",),  # unless it is a file of weights
    "saliency": ("predict_saliency", "import_saliency"),
    "seeds": ("make_seeds", "refine"),
    "labels": ("refine",),
    "from": ("make_cams", "make_seeds"),  # or guides, which this would draw as a circle
    "using": ("predict_boundaries", "import_proposals"),
}
INTRODUCTION = """# The pipeline

Drawn from dvc.yaml by `python -m docs.draw_pipeline`; a test compares the two. A stage with `@` exists once for each
classifier, guide or experiment in params.yaml. An arrow is a file that one stage writes and another one reads; arrows
implied by others are left out. A refinement may start from guides or from another refinement too. Dashed arrows carry
the ground truth: they lead to evaluation and the report, to the oracle guides, and to the experiment that params.yaml
supervises with `ground_truth.zip`. No other stage sees a mask. Paths in `${…}` come from params.yaml; code, which every stage depends on too, is not shown.

"""


def main() -> None:
    PAGE.write_text(page(Path("dvc.yaml")), encoding="utf-8")
    print(f"{PAGE}: written")


def page(dvc_yaml: Path) -> str:
    stages = yaml.safe_load(dvc_yaml.read_text(encoding="utf-8"))["stages"]
    lines = ["```mermaid", "flowchart TD", *(f"  {name}[{_title(name, stage)}]" for name, stage in stages.items())]
    arrows = list(dict.fromkeys((source, target) for source, target, _ in edges(stages)))
    shown = set(needed(arrows))
    for source, target in arrows:
        if source == MASKS:
            lines.append(f"  {source} -.-> {target}")
        elif (source, target) in shown:
            lines.append(f"  {source} --> {target}")
    table = ["| stage | reads | writes |", "|---|---|---|"]
    for name, stage in stages.items():
        reads, writes = (", ".join(f"`{path}`" for path in paths) for paths in (_inputs(stage), _outputs(stage)))
        table.append(f"| `{_title(name, stage)}` | {reads or '–'} | {writes} |")
    return INTRODUCTION + "\n".join([*lines, "```", "", *table]) + "\n"


def edges(stages: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(writer, reader, path) for every file or folder that one stage writes and another one reads."""
    found = []
    for reader, stage in stages.items():
        for path in _inputs(stage):
            chosen = re.fullmatch(r"(?:data|models)/\$\{(?:\w+\.)+(\w+)\}", path)
            writers = (
                [name for name in ANY_OF[chosen[1]] if name in stages]
                if chosen
                else [name for name, other in stages.items() if path in _outputs(other)]
                or [name for name, other in stages.items() if any(_meets(path, out) for out in _outputs(other))]
            )
            found += [(writer, reader, path) for writer in writers if writer != reader]
    return found


def needed(arrows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The arrows without those that others imply (prepare → make_cues by prepare → make_cams → make_cues)."""
    after: dict[str, set[str]] = {}
    for source, target in arrows:
        after.setdefault(source, set()).add(target)

    def reachable(start: str, without: str) -> set[str]:
        found: set[str] = set()
        waiting = list(after.get(start, ()))
        while waiting:
            name = waiting.pop()
            if name not in found and name != without:
                found.add(name)
                waiting += after.get(name, ())
        return found

    return [
        (source, target) for source, target in arrows
        if not any(target in reachable(between, source) for between in after[source] - {target})
    ]  # fmt: skip


def _title(name: str, stage: Mapping[str, Any]) -> str:
    return f"{name}@" if "foreach" in stage or "matrix" in stage else name


def _body(stage: Mapping[str, Any]) -> Mapping[str, Any]:
    body: Mapping[str, Any] = stage.get("do", stage)
    return body


def _paths(items: list[Any]) -> Iterator[str]:
    for item in items:
        yield item if isinstance(item, str) else next(iter(item))


def _inputs(stage: Mapping[str, Any]) -> list[str]:
    return [path for path in _paths(_body(stage).get("deps", [])) if not path.startswith(("stages/", "weakseg/"))]


def _outputs(stage: Mapping[str, Any]) -> list[str]:
    body = _body(stage)
    return [path for kind in ("outs", "metrics", "plots") for path in _paths(body.get(kind, []))]


def _meets(path: str, output: str) -> bool:
    """Whether a stage that reads `path` reads `output`: they are the same file, or one is a folder that holds the other."""
    one, other = (re.sub(r"\$\{[^}]*\}", "*", text) for text in (path, output))
    written = re.escape(other).replace(r"\*", "[^/]+")
    return other.startswith(f"{one}/") or bool(re.fullmatch(f"{written}(/.*)?", one))


if __name__ == "__main__":
    main()
