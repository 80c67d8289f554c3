"""Which figure shows what: SEC's figures 4 to 9, GS's 4 to 13, and the rows that have no figure in either paper."""

from collections.abc import Callable, Sequence

from weakseg.figures import live
from weakseg.figures.artifacts import Artifacts
from weakseg.figures.drawing import Figure, Row, Tile
from weakseg.figures.tiles import Wanted, black_and_white, boxed, by_iou, chosen, grey, layer, state_of, tags_of

Maker = Callable[[Artifacts, Wanted], Figure | None]  # None: nothing of it has run

FIGURE_7 = (  # in the paper's order, then the two that it leaves out
    ("sec_no_seed", "expand + constrain"), ("sec_seed", "seed"), ("sec_no_constrain", "seed + expand"),
    ("sec_no_expand", "seed + constrain"), ("sec", "all three"), ("sec_expand", "expand"), ("sec_constrain", "constrain"),
)  # fmt: skip
CRF_STUDY = (
    ("seeds", "no CRF in training"), ("seeds_post_v1", "post v1"), ("seeds_loss_v1", "loss v1, post v1"),
    ("seeds_loss_v2", "loss v2, post v2"), ("seeds_crf_v1", "seeds v1"), ("guided", "G2"), ("roi", "ROI"),
    ("roi_loss_v1", "ROI, loss v1"), ("roi_loss_v2", "ROI, loss v2"), ("roi_g2", "ROI, G2"),
)  # fmt: skip
GUIDES = (("guides/g0", "G0"), ("guides/g1", "G1"), ("guides/g2", "G2"))
NETS = (("gap_lowres", "GAP-LowRes"), ("gap_highres", "GAP-HighRes"), ("gap_deeplab", "GAP-DeepLab"), ("gap_roi", "GAP-ROI"),
        ("seeder", "the profile's own"))  # fmt: skip


def examples(title: str, order: str, seed: int = 0) -> Maker:
    """SEC's figures 4, 5 and 9: photo, prediction, ground truth, three times side by side."""

    def make(artifacts: Artifacts, wanted: Wanted) -> Figure | None:
        ious = artifacts.iou("sec")
        records = chosen([record for record in artifacts.records("val") if record.image_id in ious], wanted)
        if not ious or not artifacts.has("masks/sec"):
            return None
        if not wanted.image_ids:
            records = by_iou(artifacts.records("val"), ious, order, seed)[: 3 * wanted.count]
        rows = [
            Row(f"{tags_of(artifacts, record)}: IoU {100 * ious[record.image_id]:.0f} %", artifacts.photo(record),
                [artifacts.map("masks/sec", record), artifacts.map("ground_truth", record)])
            for record in records
        ]  # fmt: skip
        return Figure(title, ["photo", "prediction", "ground truth"], ["", "", ""], rows, fold=3)

    return make


def experiments(title: str, columns: Sequence[tuple[str, str]]) -> Maker:
    """SEC's figures 6 to 8: the same val photos by several experiments, whose numbers stand above."""

    def make(artifacts: Artifacts, wanted: Wanted) -> Figure | None:
        names = [name for name, _ in columns]
        if not any(artifacts.has(f"masks/{name}") for name in names):
            return None
        rows = [
            Row(tags_of(artifacts, record), artifacts.photo(record),
                [artifacts.map("ground_truth", record), *(artifacts.map(f"masks/{name}", record) for name in names)])
            for record in chosen(artifacts.records("val"), wanted)
        ]  # fmt: skip
        notes = ["", artifacts.true_foreground(names), *(artifacts.numbers(name) for name in names)]
        return Figure(title, ["photo", "ground truth", *(head for _, head in columns)], notes, rows)

    return make


def boxes_to_saliency(title: str, seed: int) -> Maker:
    """GS's figures 5 and 9: a saliency photo with its box, GrabCut's mask of it, and what the network learnt."""

    def make(artifacts: Artifacts, wanted: Wanted) -> Figure | None:
        records = chosen(artifacts.saliency_records(), wanted, seed)
        if not records or not artifacts.has("grabcut"):
            return None
        rows = [
            Row(record.image_id, boxed(artifacts.photo(record), record),
                [black_and_white(artifacts.map("grabcut", record)), grey(live.salience(artifacts, record))])
            for record in records
        ]  # fmt: skip
        note = "" if artifacts.find("models/saliency") else "not run"
        return Figure(title, ["box", "GrabCut", "saliency"], ["", "", note], rows, fold=2)

    return make


def saliency(title: str, seed: int) -> Maker:
    """GS's figures 4 and 10: saliency of the tagged photos."""

    def make(artifacts: Artifacts, wanted: Wanted) -> Figure | None:
        if not artifacts.has("saliency"):
            return None
        rows = [
            Row(tags_of(artifacts, record), artifacts.photo(record),
                [grey(artifacts.map("saliency", record)), artifacts.map("ground_truth", record)])
            for record in chosen(artifacts.records("val"), wanted, seed)
        ]  # fmt: skip
        return Figure(title, ["photo", "saliency", "ground truth"], ["", "", ""], rows, fold=2)

    return make


def guides(title: str, several_tags: bool, seed: int) -> Maker:
    """GS's figures 6 and 11: what the three strategies make of the same tags, seeds and saliency."""

    def make(artifacts: Artifacts, wanted: Wanted) -> Figure | None:
        if not any(artifacts.has(name) for name, _ in GUIDES):
            return None
        records = artifacts.records("train")
        if several_tags and not wanted.image_ids:
            records = [record for record in records if len(record.labels) > 1] or records
        layers = ("ground_truth", "seeds", "saliency", *(name for name, _ in GUIDES))
        rows = [
            Row(
                tags_of(artifacts, record), artifacts.photo(record), [layer(artifacts, name, record) for name in layers]
            )
            for record in chosen(records, wanted, seed)
        ]
        heads = ["photo", "ground truth", "seeds", "saliency", *(head for _, head in GUIDES)]
        return Figure(title, heads, ["", *(state_of(artifacts, name) for name in layers)], rows)

    return make


def stages(title: str, seed: int) -> Maker:
    """GS's figures 7, 12 and 13: training photos, from seeds and saliency by the guide to the trained segmenter."""

    def make(artifacts: Artifacts, wanted: Wanted) -> Figure | None:
        layers = ("seeds", "saliency", "guides/g2")
        if not any(artifacts.has(name) for name in layers):
            return None
        rows = [
            Row(tags_of(artifacts, record), artifacts.photo(record),
                [*(layer(artifacts, name, record) for name in layers), live.predicted(artifacts, "guided", record),
                 artifacts.map("ground_truth", record)])
            for record in chosen(artifacts.records("train"), wanted, seed)
        ]  # fmt: skip
        notes = [
            "",
            *(state_of(artifacts, name) for name in layers),
            "on training photos",
            state_of(artifacts, "ground_truth"),
        ]
        return Figure(title, ["photo", "seeds", "saliency", "guide G2", "segmenter", "ground truth"], notes, rows)

    return make


def heat_maps(title: str, seed: int) -> Maker:
    """GS's figure 8: heat maps of the GAP nets for a photo's first tag."""

    def make(artifacts: Artifacts, wanted: Wanted) -> Figure | None:
        names = [name for name, _ in NETS]
        states = ["" if artifacts.find(f"models/classifier/{name}") else "not run" for name in names]
        if all(states):
            return None
        rows = []
        for record in chosen([record for record in artifacts.records("train") if record.labels], wanted, seed):
            photo = artifacts.photo(record)
            tiles: list[Tile] = [live.heat(artifacts, name, record, photo) for name in names]
            rows.append(Row(tags_of(artifacts, record, first=True), photo, tiles))
        return Figure(title, ["photo", *(head for _, head in NETS)], ["", *states], rows)

    return make


FIGURES: dict[str, Maker] = {
    "sec_4": examples("SEC figure 4: successful cases (val)", "best"),
    "sec_5": examples("SEC figure 5: failures (val)", "worst"),
    "sec_6": experiments("SEC figure 6: pooling of the present classes (val)",
                         [("sec_gmp", "GMP"), ("sec_gap", "GAP"), ("sec", "GWRP")]),
    "sec_7": experiments("SEC figure 7: terms of the loss (val)", FIGURE_7),
    "sec_8": experiments("SEC figure 8: field of view (val)", [("sec_small_fov", "small"), ("sec", "large")]),
    "sec_9": examples("SEC figure 9: chosen at random (val)", "random", seed=9),
    "gs_4": saliency("GS figure 4: saliency of the tagged photos (val)", seed=4),
    "gs_5": boxes_to_saliency("GS figure 5: box, GrabCut, saliency on photos that the saliency network learnt from", seed=5),
    "gs_6": guides("GS figure 6: guide strategies (photos with several tags)", several_tags=True, seed=6),
    "gs_7": stages("GS figure 7: stages of the system (training photos)", seed=7),
    "gs_8": heat_maps("GS figure 8: heat maps of the GAP nets for the first tag (training photos)", seed=8),
    "gs_9": boxes_to_saliency("GS figure 9: more of figure 5", seed=9),
    "gs_10": saliency("GS figure 10: more of figure 4 (val)", seed=10),
    "gs_11": guides("GS figure 11: guide strategies (training photos at random)", several_tags=False, seed=11),
    "gs_12": stages("GS figure 12: more of figure 7 (training photos)", seed=12),
    "gs_13": stages("GS figure 13: more of figure 7 (training photos)", seed=13),
    "crf_study": experiments("GS tables 4 and 5: the CRF in the loss, at test time and on the seeds (val)", CRF_STUDY),
    "headline": experiments("Both papers' systems and the fully supervised network (val)",
                            [("sec", "SEC"), ("sec_authors", "SEC, authors' cues"), ("seeds", "GS, seeds only"), ("g0", "GS, G0"),
                             ("g1", "GS, G1"), ("guided", "GS, G2"), ("oracle", "saliency oracle"), ("full", "masks")]),
}  # fmt: skip
