"""The `weakseg` command: each subcommand by the words that a user types."""

import csv
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.profile_cases import ROOT, settings_of, text_of
from weakseg.cli import main
from weakseg.cli.data import DATA_SETS
from weakseg.download.data_sets import NOTES
from weakseg.files.archives import write_images
from weakseg.files.atomic import file_sha256
from weakseg.files.manifest import Record, write_manifest
from weakseg.settings import read_params

COMMANDS = ("init", "profile", "data", "run", "report", "clean", "segment", "export", "publish", "verify")


def complaint(*arguments: object) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*map(str, arguments)])
    return str(caught.value)


# --- help ------------------------------------------------------------------------------------------------------------------


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint("--help") == "0"
    shown = capsys.readouterr().out
    listed = [line.split()[0] for line in shown.splitlines() if line.startswith("    ") and line[4] != " "]
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(command, "--help") == "0"
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: weakseg {command}") and f"example:\n  weakseg {command}" in shown


def test_help_waits_for_no_library() -> None:
    code = "import sys; from weakseg.cli import main\ntry: main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "dvc", "pydantic", "cv2"} & set(done.stdout.split())


def test_outside_of_a_clone_the_pipeline_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert complaint("run") == (
        f"weakseg run: {tmp_path}: not inside a clone of weakseg's repository; the pipeline and its profiles are there"
    )


# --- profile and init --------------------------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What marks a clone, without its code, as the working directory; with the toy profile's params."""
    folder = tmp_path / "clone"
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / "stages").mkdir()
    (folder / "stages" / "__main__.py").touch()
    shutil.copytree(ROOT / "models" / "pretrained", folder / "models" / "pretrained")
    (folder / "params.yaml").write_text(text_of("toy"), encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


def params_of(clone: Path) -> Any:
    return yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8"))


def test_a_profile_replaces_a_profile_and_never_edits(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["profile", "small-voc"])
    assert capsys.readouterr().out == "params.yaml: profile small-voc\n"
    assert (clone / "params.yaml").read_text(encoding="utf-8") == text_of("small-voc")
    edited = text_of("small-voc").replace("random_seed: 0", "random_seed: 7", 1)
    (clone / "params.yaml").write_text(edited, encoding="utf-8")
    assert complaint("profile", "toy") == (
        "weakseg profile: params.yaml: is not what a profile writes, so it may hold edits of yours; --force (make: FORCE=1) replaces it"
    )
    assert (clone / "params.yaml").read_text(encoding="utf-8") == edited
    main(["profile", "toy", "--force"])
    assert (clone / "params.yaml").read_text(encoding="utf-8") == text_of("toy")


def test_profiles_are_listed_with_what_they_are_for(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["profile"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(path.stem for path in (clone / "profiles").glob("*.yaml"))
    assert all(len(line.split()) > 4 for line in lines)


def write_photo(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (40, 50 + number, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def tagged_photos(folder: Path) -> Path:
    for number, name in enumerate(("a", "b", "c", "d")):
        write_photo(folder / f"{name}.jpg", number)
    with open(folder / "labels.csv", "w", encoding="utf-8", newline="") as file:
        rows = (["a", "cat", "train"], ["b", "cat dog", "train"], ["c", "dog", "val"], ["d", "", "test"])
        csv.writer(file).writerows([["image_id", "labels", "split"], *rows])
    return folder


def test_init_writes_params_for_tagged_photos_and_says_what_it_found(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tagged_photos(tmp_path / "my photos")
    main(["init", str(photos)])
    told = capsys.readouterr().out
    assert told.startswith(
        f"{photos}: 4 photos, 2 classes (labels.csv)\n  split: 2 train, 1 val, 1 test\n  masks: none"
    )
    assert "training photos by class: cat 2, dog 1" in told and "longer side: 50 to 53 px" in told
    assert told.endswith("params.yaml: written for these photos, from profile own-photos. Next: weakseg run\n")
    expected = settings_of("own-photos")
    expected["data"]["root"] = str(photos)
    assert params_of(clone) == expected
    read_params([clone / "params.yaml"])
    main(["init", str(photos)])  # the same again is no loss
    with open(clone / "params.yaml", "a", encoding="utf-8") as file:
        file.write("# mine\n")
    assert "may hold edits of yours" in complaint("init", photos)
    main(["init", str(photos), "--force"])
    assert "mine" not in (clone / "params.yaml").read_text(encoding="utf-8")


def test_init_looks_at_data_photos_and_trains_the_bound_where_there_are_masks(clone: Path) -> None:
    photos = clone / "data" / "photos"
    for number, name in enumerate(("cat/a", "dog/b", "dog/c")):
        write_photo(photos / f"{name}.jpg", number)
    (photos / "labels.csv").write_text("image_id,labels,split\na,cat,train\nb,dog,train\nc,dog,val\n", encoding="utf-8")
    (photos / "masks").mkdir()
    for number, name in enumerate("abc"):
        Image.fromarray(np.ones((40, 50 + number), np.uint8)).save(photos / "masks" / f"{name}.png")
    main(["init"])
    params = params_of(clone)
    assert params["data"]["root"] == "data/photos" and params["data"]["format"] == "folder"
    assert "full" in params["experiments"] and params["saliency"]["root"] == "data/toy/saliency"
    read_params([clone / "params.yaml"])


def test_init_knows_voc_s_layout(clone: Path, tmp_path: Path) -> None:
    voc = tmp_path / "VOC"
    for number, name in enumerate("abc"):
        write_photo(voc / "JPEGImages" / f"{name}.jpg", number)
        (voc / "SegmentationClass").mkdir(exist_ok=True)
        Image.fromarray(np.ones((40, 50 + number), np.uint8)).save(voc / "SegmentationClass" / f"{name}.png")
    (voc / "ImageSets" / "Segmentation").mkdir(parents=True)
    (voc / "ImageSets" / "Segmentation" / "train.txt").write_text("a\nb\n", encoding="utf-8")
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text("c\n", encoding="utf-8")
    main(["init", str(voc)])
    data = params_of(clone)["data"]
    assert (data["format"], data["root"], data["train_list"], data["val_list"]) == ("voc", str(voc), "train", "val")
    assert "full" in params_of(clone)["experiments"]


def test_init_without_tags_shows_what_a_labels_file_looks_like(clone: Path, tmp_path: Path) -> None:
    before = (clone / "params.yaml").read_bytes()
    for number, name in enumerate(("beach", "zoo")):
        write_photo(tmp_path / "photos" / f"{name}.jpg", number)
    told = complaint("init", tmp_path / "photos")
    assert "2 photos without tags" in told and "    image_id,labels\n    beach,TAG OTHER_TAG\n" in told
    assert "no such folder" in complaint("init", tmp_path / "gone")
    assert (clone / "params.yaml").read_bytes() == before


# --- run ---------------------------------------------------------------------------------------------------------------------


def test_run_tells_every_mistake_of_params_before_dvc_starts(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weakseg.cli.pipeline.dvc", lambda *_: pytest.fail("DVC was started"))
    params = params_of(clone)
    params["data"]["root"] = "data/nosuch"
    params["experiments"]["sec"]["train"]["loss"] = "secc"
    params["experiments"]["guided"]["train"]["supervision"] = "guides/g3.zip"
    params["random_seed"] = "one"
    (clone / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    told = complaint("run")
    assert told.startswith("weakseg run: params.yaml:\n")
    for words in ("data.root: data/nosuch: no such folder", "experiments.sec.train.loss: there is no losses.secc",
                  "experiments.guided.train.supervision: data/guides/g3.zip is not there", "random_seed: "):  # fmt: skip
        assert sum(words in line for line in told.splitlines()) == 1, words


def test_run_hands_targets_to_dvc_and_its_status_back(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr("weakseg.cli.pipeline.dvc", lambda *arguments: given.extend(arguments) or 3)
    assert complaint("run", "evaluate@sec", "--", "--force") == "3"
    assert given == ["repro", "evaluate@sec", "--force"]


def test_the_first_run_shows_pictures_before_any_segmenter_is_trained(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []
    monkeypatch.setattr("weakseg.cli.pipeline.dvc", lambda *arguments: done.append(arguments))
    monkeypatch.setattr("weakseg.cli.pipeline.first_look", lambda: done.append("pictures"))
    for folder in ("data/toy/voc", "data/toy/saliency"):
        (clone / folder).mkdir(parents=True)
    main(["run"])
    assert done == [("repro", "pack_masks", "make_cues", "make_seeds"), "pictures", ("repro",)]
    done.clear()
    (clone / "metrics").mkdir()
    (clone / "metrics" / "summary.json").touch()
    main(["run"])
    assert done == [("repro",)]


def test_report_says_that_nothing_has_run(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weakseg.cli.pipeline.dvc", lambda *_: pytest.fail("DVC was started"))
    assert complaint("report") == (
        "weakseg report: metrics/summary.json: not there, so nothing has been evaluated yet; `weakseg run` does it"
    )
    (clone / "metrics").mkdir()
    (clone / "metrics" / "summary.json").touch()
    given: list[str] = []
    monkeypatch.setattr("weakseg.cli.pipeline.dvc", lambda *arguments: given.extend(arguments))
    main(["report"])
    assert given == ["repro", "--single-item", "summarize", "report"]


@pytest.mark.parametrize("command", ["-m stages.train_segmenter", "-m weakseg segment a.jpg --model m --out o"])
def test_ctrl_c_while_libraries_are_imported_gives_no_traceback(command: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n")
    (tmp_path / "a.jpg").touch()
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, *command.split()], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) in ((-signal.SIGINT, ""), (1, "weakseg segment: stopped\n"))


def test_data_names_the_data_sets_that_can_be_fetched(
    clone: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {*DATA_SETS} == {*NOTES}
    shutil.copy(ROOT / "data" / "sources.yaml", clone / "data.yaml")
    folder = clone / yaml.safe_load((clone / "data.yaml").read_text(encoding="utf-8"))["ecssd"]["folder"]
    folder.mkdir(parents=True)
    (folder / "a.jpg").touch()
    main(["data", "ecssd", "--sources", "data.yaml"])
    assert capsys.readouterr().out.endswith("ECSSD: is there already; delete it to make it again\n")
    assert complaint("data", "mnist") == "2"


# --- clean and verify --------------------------------------------------------------------------------------------------------


def test_clean_removes_leftovers_and_no_result(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = [
        clone / name for name in ("checkpoints/x/1.pt", "data/.cues.npz.0123456789abcdef.weakseg-tmp", ".ruff_cache/a")
    ]
    kept = [clone / name for name in ("data/cues.npz", "models/saliency/model.json", "metrics/summary.json")]
    for path in (*left, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 2**20)
    main(["clean"])
    assert capsys.readouterr().out == "removed 3.0 MiB of leftovers\n"
    assert not any(path.exists() for path in left) and all(path.exists() for path in kept)


def test_clean_waits_for_no_running_stage(clone: Path) -> None:
    lock = clone / ".dvc" / "tmp" / "stages" / "stages.train_segmenter-0123.lock"
    lock.parent.mkdir(parents=True)
    (clone / "checkpoints").mkdir()
    code = "import fcntl, sys\nfile = open(sys.argv[1], 'a')\nfcntl.lockf(file, fcntl.LOCK_EX)\nprint('held', flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", code, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline()
        assert complaint("clean").startswith("weakseg clean: stages.train_segmenter is running")
        assert (clone / "checkpoints").is_dir()
        holder.communicate(b"\n")
    with open(lock, "a", encoding="utf-8") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free again


def test_verify_finds_what_changed_in_photos_archives_and_results(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, archive = clone / "data" / "p" / "a.jpg", clone / "data" / "seeds.zip"
    write_photo(photo, 1)
    write_manifest(
        clone / "data" / "manifest.csv", [Record("a", "train", "data/p/a.jpg", "", 51, 40, (1,), file_sha256(photo))]
    )
    write_images(archive, [("a", Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20)))])
    (clone / "metrics").mkdir()
    (clone / "metrics" / "summary.json").write_text("{}", encoding="utf-8")
    md5 = "99914b932bd37a50b983c5e7c90ae93b"  # of {}
    outs = [{"path": "metrics/summary.json", "md5": md5}, {"path": "data/gone.zip", "md5": "0" * 32}]
    lock = {"schema": "2.0", "stages": {"summarize": {"cmd": "x", "outs": outs}}}
    (clone / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    main(["verify"])
    assert capsys.readouterr().out == "2 photos, archives and models are sound; 1 results are not there\n"

    content = bytearray(archive.read_bytes())
    content[60] ^= 1
    archive.write_bytes(content)
    write_photo(photo, 2)
    (clone / "metrics" / "summary.json").write_text("{ }", encoding="utf-8")
    told = complaint("verify")
    assert told.startswith("weakseg verify: 3 problems:")
    for words in ("metrics/summary.json: is not what dvc.lock records", "1 photos were changed since: data/p/a.jpg",
                  "data/seeds.zip: "):  # fmt: skip
        assert words in told
    assert complaint("verify", "nosuch") == "weakseg verify: 1 problems:\n  nosuch: no such file or folder"
