"""`weakseg segment` and `weakseg export`: use a trained segmenter."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from weakseg.cli.parsing import Commands, add_command, count


def add_to(commands: Commands) -> None:
    parser = add_command(
        commands, "segment", segment, "segment photos with a trained model",
        "weakseg segment photo.jpg folder/ --model models/segmenter/guided --out masks --overlay",
        "Each photo gets a palette PNG of class ids in VOC's colours, by the same rule as the pipeline's own masks. Folders\n"
        "are searched with their sub-folders. A photo that fails is reported and skipped. classes.json names the ids.",
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


def _add_model(parser: ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="FOLDER", help="e.g. models/segmenter/guided")


def segment(options: Namespace) -> None:
    from weakseg.inference import segment_photos

    size = {"max_side_px": options.max_side_px} if options.max_side_px else {}
    segment_photos(
        options.photos, options.model, options.out, overlay=options.overlay, json=options.json, crf=not options.no_crf,
        force=options.force, batch_size=options.batch_size, **size,
    )  # fmt: skip


def export(options: Namespace) -> None:
    from weakseg.inference import export_onnx

    export_onnx(Path(options.model), options.out)
