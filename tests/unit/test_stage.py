"""What all stage scripts have in common: arguments that are paths, and names that DVC or a person gives."""

from argparse import Namespace
from pathlib import Path

import pytest

from weakseg.runtime import arguments, filled
from weakseg.runtime.lifetime import DVC_STAGE


def parsed(*words: str, named: str | None = None) -> Namespace:
    parser = arguments("Do it.\n\nMore.", named=named, model_folder="what is read", out="what is written")
    options: Namespace = parser.parse_args(["--model-folder", "m", *words])
    return options


@pytest.fixture(autouse=True)
def _by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DVC_STAGE, raising=False)


def refused(capsys: pytest.CaptureFixture[str], *words: str, named: str | None = None) -> str:
    with pytest.raises(SystemExit) as caught:
        parsed(*words, named=named)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_every_argument_is_a_path_that_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    options = parsed("--out", "a b/x")
    assert (options.model_folder, options.out, options.params) == (Path("m"), Path("a b/x"), ["params.yaml"])
    assert "the following arguments are required: --out" in refused(capsys)
    assert parsed("--out", "x", "--params", "a.yaml", "b.yaml:rows.r").params == ["a.yaml", "b.yaml:rows.r"]


def test_a_stage_without_settings_has_no_option_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments("Do it.", reads_params=False, out="what is written").parse_args(["--out", "x", "--params", "a.yaml"])
    assert "unrecognized arguments: --params" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["train_segmenter@sec", "ablations/dvc.yaml:train_segmenter@sec"])
def test_under_dvc_a_stage_has_the_name_behind_its_at(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DVC_STAGE, stage)
    options = parsed("--out", "masks/{name}.zip", named="which of them")
    assert (options.name, options.out, options.model_folder) == ("sec", Path("masks/sec.zip"), Path("m"))
    assert parsed("--out", "x", "--name", "guided", named="which").name == "guided"  # what a person says goes first


def test_a_stage_that_is_one_has_no_name_and_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DVC_STAGE, "make_cues")
    assert parsed("--out", "cues.npz").name == ""


def test_a_stage_that_is_one_of_many_must_be_told_which(capsys: pytest.CaptureFixture[str]) -> None:
    for words, named in ((("--out", "x"), "which of params.yaml's experiments"), (("--out", "{name}.zip"), None)):
        assert "--name: '' is no name; take letters, digits, _ and -" in refused(capsys, *words, named=named)


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", "$(touch x)", "a;b", "-a", "a" * 65, "ä", "a\n", "{name}"])
def test_what_could_leave_its_folder_is_no_name(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "is no name" in refused(capsys, "--out", "x/{name}.zip", f"--name={name}", named="which")
    monkeypatch.setenv(DVC_STAGE, f"predict@{name}")
    assert "is no name" in refused(capsys, "--out", "x/{name}.zip", named="which")


def test_settings_fill_in_what_they_name_and_nothing_else() -> None:
    options = Namespace(cams=Path("cams/{net}.npz"), out=Path("{net}/{other}"), params=["{net}"], count=3)
    assert filled(options, net="seeder") is options
    assert options == Namespace(cams=Path("cams/seeder.npz"), out=Path("seeder/{other}"), params=["{net}"], count=3)
    filled(options, other="a b/{c}")  # a value is a value
    assert options.out == Path("seeder/a b/{c}")
