"""`weakseg segment`, `export` and `publish`: use a trained segmenter, and share it."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from weakseg.cli.parsing import Commands, add_command, count


def add_to(commands: Commands) -> None:
    parser = add_command(
        commands, "segment", segment, "segment photos with a trained model",
        "weakseg segment photo.jpg folder/ --model models/segmenter/guided --out masks --overlay",
        "Each photo gets a palette PNG of class ids in VOC's colours, by the same rule as the pipeline's own masks. Folders\n"
        "are searched with their subfolders. A photo that fails is reported and skipped. classes.json names the ids.",
    )  # fmt: skip
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="photos, or folders of photos")
    _add_model(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where to write the masks")
    parser.add_argument("--overlay", action="store_true", help="write <name>.overlay.jpg too: the mask on the photo")
    parser.add_argument("--json", action="store_true", help="write <name>.json too: classes, areas and boxes")
    parser.add_argument("--no-crf", action="store_true", help="skip the dense CRF: faster, rougher outlines")
    parser.add_argument("--force", action="store_true", help="replace files that are there already")
    parser.add_argument(
        "--max-side-px", type=count, metavar="N",
        help="larger photos are segmented at this size, which bounds memory and time; masks have the photo's size "
             "(default 1000)",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size",
        type=count,
        default=1,
        metavar="N",
        help="photos of one size that a GPU sees together (default 1)",
    )
    parser = add_command(
        commands, "export", export, "export a trained segmenter to ONNX",
        "weakseg export --model models/segmenter/guided --out guided.onnx",
    )  # fmt: skip
    _add_model(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .onnx file to write")
    _add_publish(commands)


def _add_publish(commands: Commands) -> None:
    parser = add_command(
        commands, "publish", publish_model, "write a trained segmenter with a model card to a folder or a hub",
        "weakseg publish models/segmenter/guided --to shared/guided --licence MIT --data 'my 300 photos of five animals'",
        "The folder is all that others need: put it on a web server, `dvc add` and push it, or publish to a hub directly.\n"
        "`weakseg segment --model` and weakseg.load_segmenter take each of these places.",
    )  # fmt: skip
    parser.add_argument("model", type=Path, metavar="MODEL", help="a segmenter's folder, e.g. models/segmenter/guided")
    parser.add_argument("--to", required=True, metavar="PLACE", help="a folder, or hub:ORGANIZATION/NAME")
    parser.add_argument("--licence", required=True, metavar="NAME", help="of the weights, e.g. MIT, CC-BY-4.0")
    parser.add_argument("--data", required=True, metavar="TEXT", help="what it learned from, in a sentence")
    parser.add_argument("--name", metavar="TEXT", help="of the card (default: the folder's name)")
    parser.add_argument(
        "--metrics", type=Path, metavar="FILE", help="default: metrics/NAME.json beside models/, if any"
    )
    parser.add_argument(
        "--made-by", action="append", default=[], metavar="COMMAND", help="trains it again; may be repeated"
    )


def _add_model(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, metavar="PLACE",
        help="e.g. models/segmenter/guided; or https://…, dvc:REPOSITORY#FOLDER, hub:ORGANIZATION/NAME",
    )  # fmt: skip


def segment(options: Namespace) -> None:
    from weakseg.inference import segment_photos

    size = {"max_side_px": options.max_side_px} if options.max_side_px else {}
    segment_photos(
        options.photos, options.model, options.out, overlay=options.overlay, json=options.json, crf=not options.no_crf,
        force=options.force, batch_size=options.batch_size, **size,
    )  # fmt: skip


def export(options: Namespace) -> None:
    from weakseg.inference import export_onnx
    from weakseg.zoo import model_folder

    export_onnx(model_folder(options.model), options.out)


def publish_model(options: Namespace) -> None:
    from weakseg.files import read_json
    from weakseg.zoo import Card, publish

    model = options.model.resolve()
    metrics = options.metrics or model.parents[2] / "metrics" / f"{model.name}.json"
    measured = read_json(metrics) if options.metrics or metrics.is_file() else {}
    card = Card(options.name or model.name, options.licence, options.data, measured, options.made_by)
    print(f"{publish(options.model, card, options.to)}: the model and its card")
