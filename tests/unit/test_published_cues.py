"""The authors' published cues: read exactly, and no code of a poisoned pickle is ever run."""

from __future__ import annotations

import builtins
import gzip
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stages import import_cues
from tests.profile_cases import settings_of
from weakseg.errors import UserError
from weakseg.files.archives import ArrayArchive
from weakseg.files.class_names import write_class_names
from weakseg.files.manifest import Record, write_manifest
from weakseg.files.maps import read_cues
from weakseg.supervision import array_pickles
from weakseg.supervision.cues import coverage
from weakseg.supervision.published_cues import CLASS_NAMES, check_matches, read_published_cues

AUTHORS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "sec_authors"
LIST = "2008_000001.jpg 0\n2009_000002.jpg 1\n"


def python2_array(values: Any, dtype: bytes = b"i8") -> bytes:
    """A numpy array as Python 2 pickled it (protocol 2), 8-byte integers by default."""
    array = np.asarray(values, dtype=np.int64)
    data = array.astype("<i8").tobytes()
    shape = b"".join(b"J" + int(side).to_bytes(4, "little") for side in array.shape)
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01(" + shape + b"tcnumpy\ndtype\nU" + bytes([len(dtype)]) + dtype + b"K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + len(data).to_bytes(4, "little")
        + data
        + b"tb"
    )


def python2_pickle(entries: dict[str, bytes]) -> bytes:
    """A dict of already pickled values."""
    items = b"".join(b"X" + len(key).to_bytes(4, "little") + key.encode() + value for key, value in entries.items())
    return b"\x80\x02}(" + items + b"u."


def good_entries() -> dict[str, bytes]:
    return {
        "0_labels": python2_array([3, 20]),
        "0_cues": python2_array([[3, 20, 0], [0, 40, 5], [1, 40, 7]]),
        "1_labels": python2_array([1]),
        "1_cues": python2_array([[1], [2], [3]]),
    }


def write(folder: Path, content: bytes, image_list: str = LIST) -> tuple[Path, Path]:
    cues_path, list_path = folder / "cues.pickle.gz", folder / "list.txt"
    cues_path.write_bytes(gzip.compress(content))
    list_path.write_text(image_list)
    return cues_path, list_path


def refusal(folder: Path, content: bytes, image_list: str = LIST) -> str:
    paths = write(folder, content, image_list)
    with pytest.raises(UserError) as raised:
        read_published_cues(*paths)
    return str(raised.value)


def test_entries_are_matched_by_image_id(tmp_path: Path) -> None:
    cues = read_published_cues(*write(tmp_path, python2_pickle(good_entries())))
    assert list(cues) == ["2008_000001", "2009_000002"]
    labels, mask = cues["2008_000001"]
    assert labels.dtype == np.uint8 and labels.tolist() == [3, 20]
    assert mask.dtype == np.bool_ and mask.shape == (21, 41, 41)
    assert np.argwhere(mask).tolist() == [[0, 5, 7], [3, 0, 1], [20, 40, 40]]
    assert np.argwhere(cues["2009_000002"][1]).tolist() == [[1, 2, 3]]


def test_the_lists_numbers_decide_not_its_order(tmp_path: Path) -> None:
    content = python2_pickle(good_entries())
    cues = read_published_cues(*write(tmp_path, content, "2009_000002.jpg 0\n2008_000001.jpg 1\n"))
    assert cues["2009_000002"][0].tolist() == [3, 20]


def test_an_uncompressed_pickle_of_python_3_reads_as_well(tmp_path: Path) -> None:
    cues_path, list_path = write(tmp_path, b"", "a.jpg 0\n")
    arrays = {"0_labels": np.array([2], dtype=np.uint8), "0_cues": np.array([[2], [7], [9]], dtype=np.int32)}
    cues_path.write_bytes(pickle.dumps(arrays, protocol=4))
    assert np.argwhere(read_published_cues(cues_path, list_path)["a"][1]).tolist() == [[2, 7, 9]]


class Calls:
    """Pickles as a call of `function` with `arguments`, as an attacker would write it."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def marker_command(marker: Path) -> str:
    return f"touch {marker}"


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("function", ["system", "eval", "exec", "getattr", "remove", "load"])
def test_a_poisoned_pickle_runs_nothing(tmp_path: Path, function: str, protocol: int, nested: bool) -> None:
    marker, victim = tmp_path / "marker", tmp_path / "victim"
    victim.touch()
    attack, refused = {
        "system": (Calls(os.system, marker_command(marker)), f"{os.name}.system"),
        "eval": (Calls(builtins.eval, f"open({str(marker)!r}, 'w')"), ".eval"),
        "exec": (Calls(builtins.exec, f"open({str(marker)!r}, 'w')"), ".exec"),
        "getattr": (Calls(getattr, "text", "format"), ".getattr"),
        "remove": (Calls(os.remove, str(victim)), f"{os.name}.remove"),
        "load": (Calls(np.load, str(victim), None, True), "numpy.load"),
    }[function]
    content = pickle.dumps({"0_labels": [(attack,)]} if nested else attack, protocol=protocol)
    message = refusal(tmp_path, content)
    assert refused in message and "cues.pickle.gz" in message
    assert not marker.exists() and victim.exists()


def test_the_attack_of_this_test_would_work_unrestricted(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(Calls(os.system, marker_command(marker))))
    assert marker.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"(S'touch {marker}'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch {marker}'\no.",  # OBJ
        b"cos\nsystem\nS'touch {marker}'\n\x85\x81.",  # NEWOBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85R.",  # STACK_GLOBAL
        b"\x80\x04\x8c\x05numpy\x8c\x15ndarray.__reduce_ex__\x93.",  # a dotted name below an allowed one
        b"cweakseg.published_cues\nos\n.",
    ],
)
def test_other_ways_to_import_are_refused(tmp_path: Path, opcodes: bytes) -> None:
    marker = tmp_path / "marker"
    assert "refers to" in refusal(tmp_path, opcodes.replace(b"{marker}", str(marker).encode()))
    assert not marker.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cnumpy\nndarray\n)R.",  # call ndarray
        b"cnumpy\nndarray\n)\x81.",  # NEWOBJ of ndarray
        b"Ppersistent\n.",  # PERSID
        b"\x82\x01.",  # EXT1
        b"\x80\x02]q\x00.",  # a list, no dict
        b"garbage",
        b"",
    ],
)
def test_misused_stand_ins_and_other_pickles_are_refused(tmp_path: Path, opcodes: bytes) -> None:
    assert "cues.pickle.gz" in refusal(tmp_path, opcodes)


@pytest.mark.parametrize(
    "state",
    [b"}X\x08\x00\x00\x00__call__K\x01s", b"N}X\x06\x00\x00\x00_makesK\x01s\x86"],  # attributes, slots
)
def test_imported_names_cannot_be_changed(tmp_path: Path, state: bytes) -> None:
    assert "tries to change an imported name" in refusal(tmp_path, b"cnumpy\ndtype\n" + state + b"b.")


def test_object_arrays_are_refused(tmp_path: Path) -> None:
    array = np.array([Calls(os.system, marker_command(tmp_path / "marker"))], dtype=object)
    assert "system" in refusal(tmp_path, pickle.dumps({"0_labels": array}, protocol=4))
    assert not (tmp_path / "marker").exists()
    array = np.array(["harmless"], dtype=object)
    assert "plain bytes" in refusal(tmp_path, pickle.dumps({"0_labels": array}, protocol=4))
    assert "O8" in refusal(tmp_path, python2_pickle({"0_labels": python2_array([0], dtype=b"O8")}))


@pytest.mark.parametrize("dtype", [b"f8", b"V8", b"M8", b"S8"])
def test_arrays_of_no_integers_are_refused(tmp_path: Path, dtype: bytes) -> None:
    assert dtype.decode() in refusal(tmp_path, python2_pickle({"0_labels": python2_array([0], dtype=dtype)}))


def test_too_much_decompressed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = python2_pickle(good_entries())
    monkeypatch.setattr(array_pickles, "MAX_PICKLE_BYTES", len(content) - 1)
    assert "holds more than" in refusal(tmp_path, content)
    monkeypatch.setattr(array_pickles, "MAX_PICKLE_BYTES", len(content))
    assert len(read_published_cues(*write(tmp_path, content))) == 2


def test_opcodes_that_take_much_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "memo places" in refusal(tmp_path, b"\x80\x02}r\xff\xff\xff\x7f.")  # LONG_BINPUT 2^31 - 1
    monkeypatch.setattr(array_pickles, "MAX_OPCODES", 1000)
    assert "more than 1000 opcodes" in refusal(tmp_path, b"\x80\x04" + b"\x8f" * 1000 + b".")  # a thousand sets


@pytest.mark.parametrize("nest", [b"\x85", b"\x85q\x01h\x01\x86", b"t("], ids=["TUPLE1", "by memo", "TUPLE"])
def test_deeply_nested_tuples_are_refused_before_they_are_hashed(tmp_path: Path, nest: bytes) -> None:
    """As keys of a dict they would be hashed by a C function that calls itself, until the stack is gone."""
    opening = b"(" * 300_001 if nest == b"t(" else b""
    nested = opening + b")" + (b"t" * 300_001 if opening else nest * 300_000)
    assert "nests tuples more than" in refusal(tmp_path, b"\x80\x02}" + nested + b"K\x01s.")


def test_a_compressed_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cues_path, list_path = write(tmp_path, bytes(array_pickles.MAX_PICKLE_BYTES + 1))
    assert cues_path.stat().st_size < 2**19
    with pytest.raises(UserError, match=r"cues.pickle.gz: holds more than \d+ bytes; refused"):
        read_published_cues(cues_path, list_path)
    list_path.write_bytes(gzip.compress(bytes(17 * 2**20)))
    with pytest.raises(UserError, match=r"list.txt: holds more than \d+ bytes; refused"):
        read_published_cues(cues_path, list_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("1_labels", [0], "class ids in 1..20"),
        ("1_labels", [21], "class ids in 1..20"),
        ("1_labels", [1, 1], "distinct"),
        ("1_labels", [[1]], "1 dimension"),
        ("1_cues", [1, 2, 3], "2 dimensions"),
        ("1_cues", [[1], [2]], "3 rows"),
        ("1_cues", [[1], [41], [0]], "outside"),
        ("1_cues", [[1], [0], [-1]], "outside"),
        ("1_cues", [[21], [0], [0]], "outside"),
        ("1_cues", [[2], [0], [0]], "not among the labels"),
        ("1_cues", [[1, 0], [4, 4], [5, 5]], "more than one cue"),
        ("1_cues", np.zeros((3, 2000), dtype=int), "more than one cue per location"),
    ],
)
def test_a_malformed_entry_is_named(tmp_path: Path, key: str, value: Any, message: str) -> None:
    found = refusal(tmp_path, python2_pickle({**good_entries(), key: python2_array(value)}))
    assert message in found and "entry 1 (2009_000002)" in found and "cues.pickle.gz" in found
    assert "entry 0" not in found


def test_all_malformed_entries_are_listed_at_once(tmp_path: Path) -> None:
    entries = {**good_entries(), "0_labels": b"K\x01", "7_labels": python2_array([1]), "notes": b"N"}
    del entries["1_cues"]
    found = refusal(tmp_path, python2_pickle(entries))
    for part in ("entry 0", "entry 1 (2009_000002): has no cues", "'7_labels'", "'notes'", "list.txt"):
        assert part in found


@pytest.mark.parametrize(
    "image_list", ["2008_000001.jpg\n", "../x.jpg 0\n", "a.jpg 0\nb.jpg 0\n", "a.jpg 0\na.jpg 1\n"]
)
def test_a_malformed_image_list_is_refused(tmp_path: Path, image_list: str) -> None:
    assert "list.txt" in refusal(tmp_path, python2_pickle(good_entries()), image_list)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    cues_path, list_path = write(tmp_path, python2_pickle(good_entries()))
    with pytest.raises(UserError, match="absent"):
        read_published_cues(tmp_path / "absent.gz", list_path)
    with pytest.raises(UserError, match="absent"):
        read_published_cues(cues_path, tmp_path / "absent.txt")
    cues_path.write_bytes(cues_path.read_bytes()[:-20])
    with pytest.raises(UserError, match="cannot be read"):
        read_published_cues(cues_path, list_path)


# --- matched to a data set ----------------------------------------------------------------------------------------------


def record(image_id: str, *labels: int) -> Record:
    return Record(image_id, "train", f"{image_id}.jpg", "", 500, 375, labels, "")


def import_into(folder: Path, cues_path: Path, list_path: Path, records: list[Record]) -> ArrayArchive:
    """What the stage writes for these training photos of VOC's classes."""
    write_manifest(folder / "manifest.csv", [*records, replace(record("val", 1), split="val")])
    write_class_names(folder / "classes.txt", CLASS_NAMES)
    params = settings_of("toy")
    params["import_cues"] = {"published_cues": {"cues": str(cues_path), "image_list": str(list_path)}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    arguments = {"params": "params.yaml", "manifest": "manifest.csv", "classes": "classes.txt", "out": "out.npz"}
    flat = [text for name, path in arguments.items() for text in (f"--{name}", str(folder / path))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["import_cues", "--name", "published_cues", *flat])
        import_cues.main()
    return ArrayArchive(folder / "out.npz")


def test_the_stage_writes_the_training_photos_cues(tmp_path: Path) -> None:
    """By image id, in the manifest's order; a tag without cue and a published photo that is not there do no harm."""
    paths = write(tmp_path, python2_pickle(good_entries()), LIST)
    archive = import_into(tmp_path, *paths, [record("2009_000002", 1, 5)])
    assert archive.names()[0] == "2009_000002/labels" and "2008_000001/labels" not in archive
    cues = read_cues(archive, "2009_000002")
    assert cues.shape == (21, 41, 41) and np.argwhere(cues).tolist() == [[1, 2, 3]]


def test_the_files_may_have_any_name(tmp_path: Path) -> None:
    """They stand in params.yaml, and in no command."""
    cues_path, list_path = write(tmp_path, python2_pickle(good_entries()), LIST)
    odd = cues_path.rename(tmp_path / f"a 'b' \"c\" $(touch x); {cues_path.name}")
    archive = import_into(tmp_path, odd, list_path, [record("2009_000002", 1, 5)])
    assert archive.names()[0] == "2009_000002/labels" and not Path("x").exists()


def test_photos_without_published_cues_are_counted_and_listed(tmp_path: Path) -> None:
    cues = read_published_cues(*write(tmp_path, python2_pickle(good_entries())))
    records = [record(f"new_{number}", 1) for number in range(12)] + [record("2009_000002", 1)]
    with pytest.raises(UserError, match="no published cues for 12 of 13 training photos") as raised:
        check_matches(cues, records, CLASS_NAMES)
    assert "new_9, …" in str(raised.value) and "new_10" not in str(raised.value)
    check_matches(cues, records[12:], CLASS_NAMES)


def test_cues_of_classes_that_the_tags_lack_are_refused(tmp_path: Path) -> None:
    cues = read_published_cues(*write(tmp_path, python2_pickle(good_entries())))
    with pytest.raises(UserError, match=r"1 photos .* tags lack \(2008_000001: bird, tvmonitor\)"):
        check_matches(cues, [record("2008_000001", 2), record("2009_000002", 1)], CLASS_NAMES)


@pytest.mark.parametrize(
    "names", [CLASS_NAMES[:-1], CLASS_NAMES[1:], ("background", *sorted(CLASS_NAMES[1:], reverse=True))]
)
def test_other_classes_or_another_order_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    cues = read_published_cues(*write(tmp_path, python2_pickle(good_entries())))
    with pytest.raises(UserError, match="VOC's classes in VOC's order"):
        check_matches(cues, [], names)


@pytest.mark.skipif(not AUTHORS.is_dir(), reason="shared/data/sec_authors is not there")
def test_the_published_cues_have_the_published_coverage(tmp_path: Path) -> None:
    """SEC §6.1 and the released file: foreground 14.2 %, background 9.8 %, none 76.0 %; no overlap; a cue for every label.

    Read from what the stage writes for a manifest of all 10 582 photos.
    """
    paths = AUTHORS / "sec_localization_cues.pickle.gz", AUTHORS / "sec_input_list.txt"
    published = read_published_cues(*paths)
    assert len(published) == 10582 and "2008_007028" in published
    records = [record(image_id, *labels.tolist()) for image_id, (labels, _) in published.items()]
    archive = import_into(tmp_path, *paths, records)
    shares = []
    for image_id, (labels, mask) in published.items():
        cues = read_cues(archive, image_id)
        assert np.array_equal(cues, mask) and cues.sum(0).max() == 1
        assert len(labels) > 0 and cues[labels].any((1, 2)).all()
        shares.append(coverage(cues))
    assert np.round(100 * np.mean(shares, 0), 1).tolist() == [14.2, 9.8, 76.0]
