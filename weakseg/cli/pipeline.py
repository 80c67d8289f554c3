"""`weakseg run`, `report` and `clean`: the pipeline of the clone."""

from argparse import Namespace
from pathlib import Path

from weakseg.cli.leftovers import remove_leftovers, remove_results
from weakseg.cli.parsing import Commands, add_command
from weakseg.cli.repository import dvc, enter_repository, must
from weakseg.errors import UserError

PARAMS, SUMMARY = Path("params.yaml"), Path("metrics/summary.json")
FIRST_LOOK, BEFORE_FIRST_LOOK = Path("metrics/first_look.png"), ("pack_masks", "make_cues", "make_seeds")
TABLE, PAGE = Path("metrics/report/table.txt"), Path("metrics/report/index.html")


def add_to(commands: Commands) -> None:
    parser = add_command(
        commands, "run", run_pipeline, "run the pipeline with params.yaml as it stands, then show the results",
        "weakseg run evaluate@sec",
        "Everything that is wrong with params.yaml is reported first. Without a target the whole pipeline is brought up\n"
        "to date by `dvc repro`; what is up to date already is skipped. Arguments after -- are handed to `dvc repro`.",
    )  # fmt: skip
    parser.add_argument("targets", nargs="*", metavar="STAGE[@NAME]", help="what to bring up to date (default: all)")
    add_command(
        commands, "report", make_report, "write the results table and the page from what has run, and show them",
        "weakseg report", "Nothing is trained or predicted; run `weakseg run` for that.",
    )  # fmt: skip
    parser = add_command(
        commands, "clean", clean, "remove what interrupted runs and tools have left behind", "weakseg clean",
        "Results, models and DVC's cache are kept.",
    )  # fmt: skip
    parser.add_argument(
        "--results", action="store_true",
        help="remove data/, models/ and metrics/ of the last run too; DVC's cache keeps them: `dvc checkout` brings them back",
    )  # fmt: skip


def run_pipeline(options: Namespace) -> None:
    from weakseg.settings import check_params
    from weakseg.warm_start import warm_starts

    enter_repository()
    check_params(PARAMS)
    with warm_starts():
        if not options.targets and not SUMMARY.is_file():  # the first run: something to look at while it goes on
            must(dvc("repro", *BEFORE_FIRST_LOOK))
            first_look()
        status = dvc("repro", *options.targets)
    must(status)
    if not options.targets:
        show_results()


def first_look() -> None:
    """A picture of the cues and seeds, as soon as they are there."""
    from weakseg.report import ReportSources, write_first_look

    data = Path("data")
    sources = ReportSources(
        data / "manifest.csv", data / "classes.txt",
        cues=data / "cues.npz", seeds=data / "seeds.zip", ground_truth=data / "ground_truth.zip",
    )  # fmt: skip
    write_first_look(FIRST_LOOK, sources)
    print(f"\nfirst pictures, of what the tags were turned into: {FIRST_LOOK}\n", flush=True)


def make_report(_: Namespace) -> None:
    enter_repository()
    if not SUMMARY.is_file():
        raise UserError(f"{SUMMARY}: not there, so nothing has been evaluated yet; `weakseg run` does it")
    must(dvc("repro", "--single-item", "summarize", "report"))
    show_results()


def show_results() -> None:
    if TABLE.is_file():
        print(f"\n{TABLE.read_text(encoding='utf-8')}\npictures: {PAGE} and {PAGE.parent}/*.png")


def clean(options: Namespace) -> None:
    enter_repository()
    remove_leftovers()
    if options.results:
        remove_results(Path("dvc.lock"))
