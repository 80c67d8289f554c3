"""Results that changed in the working tree or on a remote: what is noticed, and by whom, as docs/share-caches.md says."""

import re
from pathlib import Path

import yaml

from tests.pipeline.tiny_repo import Repo
from tests.profile_cases import ROOT

CUES = "data/cues.npz"


def flip_a_byte(path: Path) -> bytes:
    """In the middle, leaving size and mode; what was there before."""
    before, mode = path.read_bytes(), path.stat().st_mode
    content = bytearray(before)
    content[len(content) // 2] ^= 1
    path.unlink()  # it may be a hard link of another test's
    path.write_bytes(content)
    path.chmod(mode)
    return before


def outs(repo: Repo) -> dict[str, str]:
    """Path and hash of all that dvc.lock records."""
    stages = yaml.safe_load((repo.folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def cached(cache: Path, md5: str) -> Path:
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def test_verify_finds_every_result_that_is_not_what_it_was(ours: Repo) -> None:
    command = ("python", "-m", "weakseg", "verify")
    assert re.fullmatch(r"\d+ photos, archives and models are sound\n", ours.run(*command))
    photo = ours.records("train")[0].image
    changed = [photo, CUES, "models/segmenter/guided/weights.safetensors"]
    before = {name: flip_a_byte(ours.folder / name) for name in changed}
    seeds, saliency = ours.folder / "data/seeds.zip", (ours.folder / "data/saliency.zip").read_bytes()
    before["data/seeds.zip"] = seeds.read_bytes()
    seeds.unlink()
    seeds.write_bytes(saliency)  # sound in itself
    done = ours.call(*command)
    for name, content in before.items():
        (ours.folder / name).write_bytes(content)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"1 photos were changed since: {photo}" in done.stderr
    for name in changed[1:] + ["data/seeds.zip"]:
        assert f"  {name}: is not what dvc.lock records" in done.stderr
    assert "weights.safetensors: is not the file that model.json beside it was written for" in done.stderr
    assert f"{CUES}: " in done.stderr.replace(f"{CUES}: is not what", "")  # the archive itself is damaged, too


def test_clean_results_removes_what_dvc_brings_back_and_keeps_the_rest(ours: Repo) -> None:
    recorded, cache = outs(ours), ours.folder / ".dvc" / "cache"
    before = {path: (ours.folder / path).read_bytes() for path in recorded if (ours.folder / path).is_file()}
    ours.run("python", "-m", "weakseg", "verify")
    trained = ours.folder / "models/segmenter/sec/model.json"  # newer than dvc.lock, as after `python -m stages`
    description = trained.read_bytes()
    trained.unlink()
    trained.write_bytes(description + b"\n")
    lost = cached(cache, recorded[CUES])
    lost.rename(lost.with_suffix(".away"))
    told = ours.run("python", "-m", "weakseg", "clean", "--results")
    (kept,) = re.findall(r"^kept, since DVC's cache does not have them as they are: (.*)$", told, re.MULTILINE)
    left = {path for path in recorded if (ours.folder / path).exists()}
    assert left == set(kept.split(", "))
    assert {CUES, "models/segmenter/sec/model.json"} <= left and "data/seeds.zip" not in left
    assert trained.read_bytes() == description + b"\n"
    trained.write_bytes(description)
    lost.with_suffix(".away").rename(lost)
    ours.dvc("checkout")
    assert {path: (ours.folder / path).read_bytes() for path in before} == before
    assert all((ours.folder / path).exists() for path in recorded)


def test_a_documented_remote_refuses_what_changed_there(ours: Repo, tmp_path: Path) -> None:
    documented = (ROOT / "docs" / "share-caches.md").read_text(encoding="utf-8")
    (verify,) = re.findall(r"^(dvc remote modify team verify true) ", documented, re.MULTILINE)
    ours.dvc("remote", "add", "--default", "team", str(tmp_path / "storage"))
    ours.run(*verify.split())
    ours.dvc("push", "make_cues")
    md5 = outs(ours)[CUES]
    flip_a_byte(cached(tmp_path / "storage", md5))
    (ours.folder / CUES).unlink()
    cached(ours.folder / ".dvc" / "cache", md5).unlink()
    done = ours.call("dvc", "pull", "make_cues")
    assert done.returncode != 0 and CUES in done.stderr and "Traceback" not in done.stderr
    assert not (ours.folder / CUES).exists()
