"""Metrics of an experiment that was trained several times, with one random seed each: mean and standard deviation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from weakseg.evaluation.iou import Confusion, foreground_fraction, mean_iou, metrics_of

MIOUS = ("miou", "miou_crf")


def metrics_of_trainings(
    confusions: Confusion, class_names: Sequence[str], random_seeds: Sequence[int]
) -> dict[str, Any]:
    """Of (S, 2, C, C) counts without and with CRF, one training after the other: `metrics_of` a single one; of several,
    the means, and `sd`, the standard deviations (S - 1 in the denominator). A class that is in neither map of a
    training counts in the others."""
    each = [metrics_of(raw, crf, class_names) for raw, crf in confusions]
    if len(each) == 1:
        return each[0]
    return {**_over(each, _mean), "random_seeds": list(random_seeds), "sd": _over(each, _sd)}


def _over(each: Sequence[Mapping[str, Any]], rule: Any) -> dict[str, Any]:
    return {
        key: _over([metrics[key] for metrics in each], rule)
        if isinstance(value, Mapping)
        else rule(np.array([metrics[key] for metrics in each], np.float64))
        for key, value in each[0].items()
    }


def _mean(values: Any) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _sd(values: Any) -> float:
    known = values[~np.isnan(values)]
    return float(known.std(ddof=1)) if known.size > 1 else float("nan")


def trainings_numbers(confusions: Confusion) -> dict[str, float]:
    """mIoU and foreground share in per cent, without and with CRF, of (S, 2, C, C) counts: the means over trainings and,
    where there are several, the standard deviations, under the same names with `_sd`."""
    rules = {"miou": mean_iou, "foreground": foreground_fraction}
    values = {
        f"{name}{suffix}": np.array([100 * rule(confusion[kind]) for confusion in confusions])
        for name, rule in rules.items()
        for kind, suffix in enumerate(("", "_crf"))
    }
    numbers = {name: _mean(each) for name, each in values.items()}
    spreads = {f"{name}_sd": _sd(each) for name, each in values.items()} if len(confusions) > 1 else {}
    return numbers | spreads


def better_kind(metrics: Mapping[str, Any]) -> str | None:
    """`miou` or `miou_crf`, whichever is greater; None where neither is known."""
    known = {key: value for key in MIOUS if (value := metrics.get(key)) is not None and np.isfinite(value)}
    return max(known, key=lambda key: known[key], default=None)


def summary_of(metrics: Mapping[str, Mapping[str, Any]], bound: str = "full") -> dict[str, dict[str, float | None]]:
    """`metrics/summary.json` from the metrics of all experiments, in their order.

    `percent_of_full` is the better of an experiment's two mIoUs over `bound_miou`, the better of the bound's two: so
    `dvc metrics diff` shows which of them moved. None without the bound, or where it is 0. Of several trainings,
    `trainings` and standard deviations too.

    Example:
        >>> both = {"sec": {"miou": 30.0, "miou_crf": 40.0}, "full": {"miou": 50.0, "miou_crf": 48.0}}
        >>> summary_of(both)["sec"]
        {'miou': 30.0, 'miou_crf': 40.0, 'percent_of_full': 80.0, 'bound_miou': 50.0}
    """
    of_bound = metrics.get(bound, {})
    bound_kind = better_kind(of_bound)
    bound_miou = of_bound[bound_kind] if bound_kind else None
    summary: dict[str, dict[str, float | None]] = {}
    for experiment, values in metrics.items():
        kind = better_kind(values)
        percent = 100 * values[kind] / bound_miou if kind and bound_miou else None
        summary[experiment] = {
            **{key: values.get(key) for key in MIOUS}, "percent_of_full": percent, "bound_miou": bound_miou,
        }  # fmt: skip
        spread = values.get("sd")
        if spread and kind:
            summary[experiment] |= {f"{key}_sd": spread[key] for key in MIOUS}
            if percent is not None and experiment != bound:
                summary[experiment]["percent_of_full_sd"] = percent * float(
                    np.hypot(_relative_sd(values, kind), _relative_sd(of_bound, bound_kind))
                )
            summary[experiment]["trainings"] = len(values["random_seeds"])
    return summary


def _relative_sd(metrics: Mapping[str, Any], kind: str | None) -> float:
    """0 for what was trained once."""
    return metrics["sd"][kind] / metrics[kind] if kind and "sd" in metrics and metrics[kind] else 0.0
