"""`weakseg init` and `weakseg profile`: write params.yaml."""

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

from weakseg.cli.parsing import Commands, add_command
from weakseg.cli.repository import enter_repository
from weakseg.errors import UserError

PARAMS = Path("params.yaml")
PHOTOS = Path("data/photos")


def add_to(commands: Commands) -> None:
    parser = add_command(
        commands, "init", init, "look at a folder of photos, write params.yaml for it, and say what was found",
        "weakseg init ~/my_photos",
        "The folder holds photos with a labels.csv (image_id,labels[,split]), or one subfolder per tag, or is in VOC's\n"
        "layout. Masks are not needed; where a folder `masks` has some for training and val photos, the fully supervised\n"
        "bound is trained too, and results are measured. Nothing is asked, and nothing but params.yaml is written.",
    )  # fmt: skip
    parser.add_argument("folder", nargs="?", type=Path, default=PHOTOS, help=f"the photos (default: {PHOTOS})")
    _add_force(parser)
    parser = add_command(
        commands, "profile", write_named_profile, "write params.yaml for a profile, or list the profiles",
        "weakseg profile toy",
    )  # fmt: skip
    parser.add_argument("name", nargs="?", metavar="NAME", help="without a name, profiles are listed")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: params.yaml of the clone")
    _add_force(parser)


def _add_force(parser: ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace a params.yaml that was edited by hand")


def init(options: Namespace) -> None:
    from weakseg.cli.found import look_at

    folder = options.folder.resolve() if options.folder != PHOTOS else PHOTOS
    clone = enter_repository()
    found = look_at(folder.relative_to(clone) if folder.is_relative_to(clone) else folder)
    replace_params(PARAMS, found.params_text(), options.force)
    print(found.told())
    print(f"\n{PARAMS}: written for these photos, from profile {found.profile}. Next: weakseg run")


def write_named_profile(options: Namespace) -> None:
    from weakseg.settings import profile_headline, profile_names, profile_text

    out = options.out.resolve() if options.out else PARAMS
    enter_repository()
    if options.name is None:
        print("\n".join(f"{name:<12} {profile_headline(name)}" for name in profile_names()))
        return
    replace_params(out, profile_text(options.name), options.force)
    print(f"{options.out or out}: profile {options.name}")


def replace_params(path: Path, text: str, force: bool) -> None:
    """Write a params file; one that holds anything but the text of a profile is replaced by `force` alone."""
    from weakseg.files import write_text

    if path.exists() and not force:
        before = path.read_text(encoding="utf-8", errors="replace")
        if before != text and not _is_profile(before):
            raise UserError(
                f"{path}: is not what a profile writes, so it may hold edits of yours; --force (make: FORCE=1) replaces it"
            )
    write_text(path, text)


def _is_profile(text: str) -> bool:
    """Whether it is, to the letter, the profile that its first line names."""
    from weakseg.settings import profile_names, profile_text

    named = re.match(r"# Profile (\S+), as `make profile", text)
    return named is not None and named[1] in profile_names() and text == profile_text(named[1])
