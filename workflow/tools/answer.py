"""docs/answer.md: its figures, tables and numbers, from the committed data of experiments.

    python workflow/tools/answer.py                  writes them anew (`make answer`)
    python workflow/tools/answer.py results/NAME     first copies parts of that experiment's report: its numbers to
                                                     docs/answer/data/NAME.json and, once its runs have ended,
                                                     its page to docs/answer/NAME.html

The document has marks, `<!-- answer: KEY -->text<!-- /answer -->`; the command writes the text.
"""

import argparse
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arc_precision.cli import run
from arc_precision.contracts import layout
from arc_precision.report.ladder import size_over_seeds
from arc_precision.report.written_numbers import number
from arc_precision.svg import COLORS, Axis, Figure

EXPERIMENTS = {
    "dose": ["dose"],
    "smollm2": ["smollm2"],
    "smollm2-edge": ["smollm2", "smollm2-edge"],
    "smollm2-swept": ["smollm2", "smollm2-swept"],
    "smollm2-causes": ["smollm2-causes"],
    "notebook-8b-audit": ["notebook-8b-audit"],
}
"""The experiments, each with its files in `experiments/`."""
MAX_PAGE_BYTES = 2 * 2**20
NOT_RUN = "not run yet"
REFERENCE = "bfloat16"  # the reference of every row of smollm2-causes

Data = dict[str, Any]


# ------------------------------------------------------------------------------------------------ kept numbers


def take(results: Path, answer: Path) -> None:
    """Keep the numbers of a report that the document needs and, once all runs have ended, its page.

    Raises:
        ValueError: it is none of these experiments, or its page is too large for a repository.
    """
    report = json.loads((results / layout.REPORT).read_text())
    name, page = report["experiment"], results / layout.REPORT_PAGE
    if name not in EXPERIMENTS:
        raise ValueError(f"{results}: {name} is no experiment of the answer; take one of {', '.join(EXPERIMENTS)}")
    if (size := page.stat().st_size) > MAX_PAGE_BYTES:
        raise ValueError(f"{page}: {size} bytes, and a committed page has at most {MAX_PAGE_BYTES}; keep fewer tasks")
    (answer / "data").mkdir(parents=True, exist_ok=True)
    (answer / "data" / f"{name}.json").write_text(json.dumps(trimmed(report), indent=1) + "\n")
    if _ended(report):
        shutil.copy(page, answer / f"{name}.html")


def _ended(data: Data) -> bool:
    """Whether no run goes on. An unfinished page would soon be replaced, and a repository keeps every version."""
    return all(run["state"] != "running" for run in data["runs"])


def trimmed(report: Data) -> Data:
    """The parts of report.json that the document is made from."""
    settings, collapse = report["settings"], report["collapse"]
    primary = {"set": settings["primary_set"], "dtype": settings["common_dtype"]}
    return {
        **{key: report[key] for key in ("experiment", "title", "settings", "arms", "runs", "comparisons")},
        "verdict": report["verdict"],
        "noise": {
            row["key"].removeprefix("sampling."): row["values"]
            for row in report["differences"]
            if row["key"] in ("sampling.weight_noise", "sampling.logit_noise")
        },
        "design_effects": _design_effects(report),
        "base_score": next(
            (
                row["metrics"][settings["primary_metric"]]["value"]
                for row in report["evaluation"]["rows"]
                if row["arm"] == layout.BASE and {key: row[key] for key in primary} == primary
            ),
            None,
        ),
        "mismatch": [
            {key: row[key] for key in ("arm", "step", "n_seeds", "causes", "metrics")} for row in report["mismatch"]
        ],
        "collapse": {
            "runs": [
                {key: row[key] for key in ("arm", "seed", "state", "steps", "onset_step")} for row in collapse["runs"]
            ],
            "survival": collapse["survival"],
            "log_rank": collapse["log_rank"],
        },
        "origins": report["provenance"]["origins"],
    }


def _design_effects(report: Data) -> dict[str, float | None]:
    """The design effect of each arm, if the report has a ladder: how far the sequences of a step err together."""
    ladder = report.get("ladder")
    return {row["arm"]: row["design_effect"]["value"] for row in ladder["arms"]} if ladder else {}


# ------------------------------------------------------------------------------------------------ the document


def write_document(document: Path, answer: Path) -> None:
    """Write the figures, and every marked text of the document.

    Raises:
        ValueError: the document has an unknown mark.
    """
    files = {name: answer / "data" / f"{name}.json" for name in EXPERIMENTS}
    data = {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}
    for name, figure in figures(data).items():
        (answer / f"{name}.svg").write_text(figure.svg())
    document.write_text(filled(document.read_text(), texts(data)))


def filled(document: str, values: dict[str, str]) -> str:
    """The document with every marked text replaced."""

    def text(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ValueError(f"docs/answer.md marks {match[1]}, which is not known; write one of {', '.join(values)}")
        return f"<!-- answer: {match[1]} -->{values[match[1]]}<!-- /answer -->"

    return re.sub(r"<!-- answer: (\S+) -->.*?<!-- /answer -->", text, document, flags=re.DOTALL)


def texts(data: dict[str, Data]) -> dict[str, str]:
    """The text at each mark: a section per experiment, and the numbers of the answer."""
    numbers = {
        "dose.harmless": ("dose", lambda d: _dose(d, harmful=False)),
        "dose.harmful": ("dose", lambda d: _dose(d, harmful=True)),
        "dose.collapsed": ("dose", collapsed_by_score),
        "smollm2.collapsed": ("smollm2", collapsed),
        "smollm2.test": ("smollm2", log_rank),
        "smollm2-edge.collapsed": ("smollm2-edge", collapsed),
        "smollm2-edge.test": ("smollm2-edge", log_rank),
        "smollm2-edge.rewards": ("smollm2-edge", final_rewards),
        "smollm2-swept.collapsed": ("smollm2-swept", collapsed),
        "smollm2-swept.difference": ("smollm2-swept", differences),
        "smollm2-causes.moved": ("smollm2-causes", moved),
        "notebook-8b-audit.spread": ("notebook-8b-audit", audited_spreads),
    }
    found = {key: f"**{make(data[name]) if name in data else NOT_RUN}**" for key, (name, make) in numbers.items()}
    return found | {name: f"\n\n{_section(name, data.get(name))}\n\n" for name in EXPERIMENTS}


def _section(name: str, data: Data | None) -> str:
    command = f"`snakemake --configfile {' '.join(f'experiments/{file}.yaml' for file in EXPERIMENTS[name])}`"
    if data is None:
        return f"Not run yet: {command}."
    origins = sorted({f"{row['device']}, commit {(row['commit'] or 'unknown')[:7]}" for row in data["origins"]})
    found = sum(row["steps"] > 0 for row in data["runs"])
    page = (
        f"[Report](answer/{name}.html), {command}" if _ended(data) else f"Some have not ended; they go on by {command}"
    )
    parts = [
        f"{found} of {len(data['runs'])} runs, on {'; '.join(origins)}. {page}.",
        audit_table(data) if name == "notebook-8b-audit" else arm_table(data),
    ]
    if name in figures({name: data}):
        parts.insert(1, f"![{data['title']}](answer/{name}.svg)")
    return "\n\n".join(parts)


# ------------------------------------------------------------------------------------------------ tables


def arm_table(data: Data) -> str:
    """The results of the runs, a row per arm."""
    rows = [
        "| arm | runs | steps | collapsed at step | spread of D, nats | design effect | reward at the end "
        "| score, % | difference, points |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    against = {row["arm"]: row for row in data["comparisons"]}
    for arm in data["arms"]:
        steps = ", ".join(str(step) for step in sorted(arm["onsets"])) or "-"
        score = _interval(arm["score"], 100) if arm["score"] else "-"
        difference = _interval(against[arm["name"]]["over_seeds"], 100, "+") if arm["name"] in against else "-"
        sizes = arm_spread(data, arm["name"]), data["design_effects"].get(arm["name"])
        ran = sorted({run["steps"] for run in data["runs"] if run["arm"] == arm["name"]})
        lengths = f"{ran[0]} to {ran[-1]}" if len(ran) > 1 else str(ran[0])
        rewards = _rewards(data, arm["name"]) or "-"
        cells = [arm["name"], str(arm["seeds_found"]), lengths, steps, *map(_number, sizes), rewards, score, difference]
        rows.append(f"| {' | '.join(cells)} |")
    settings = data["settings"]
    level = f"{100 * settings['confidence']:g} %"
    return "\n".join(
        [
            *rows,
            "",
            "Spread: over all sequences of the first steps together ([metrics.md](metrics.md#ladder)), geometric mean "
            "of the seeds. Design effect: 1 where the sequences of a step err independently, more where they err "
            "together. Reward at the end: of each run, a mean over its last steps. "
            f"Score: {settings['primary_metric']} on {settings['primary_set']} "
            f"with its {level} interval. Difference: from {settings['baseline_arm']}, its "
            f"interval over seeds and tasks, which holds for all rows together at {level}.",
        ]
    )


def audit_table(data: Data) -> str:
    """The size and the causes of the mismatch, a row per audited arm."""
    causes = [cause["cause"] for cause in data["mismatch"][0]["causes"]] if data["mismatch"] else []
    head = ["arm", "mean \\|d\\|, nats", "spread of D, nats", "ESS of sequences", *(f"share of {c}" for c in causes)]
    rows = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in data["mismatch"]:
        metrics = row["metrics"]
        values = [metrics[key] for key in ("logp_diff_abs_mean", "seq_log_ratio_std", "ess_seq")]
        shares = [cause["share"] for cause in row["causes"]]
        rows.append(f"| {' | '.join([row['arm'], *map(_number, values + shares)])} |")
    return "\n".join(rows)


# ------------------------------------------------------------------------------------------------ numbers of the answer


def arm_spread(data: Data, arm: str) -> float | None:
    """Spread of D of an arm: geometric mean over its seeds, as in the report's ladder."""
    spreads = [run["seq_log_ratio_std"] for run in data["runs"] if run["arm"] == arm]
    return size_over_seeds(spreads, data["settings"]["confidence"]).value


def _dose(data: Data, harmful: bool) -> str:
    """The smallest spread that was shown to do harm, or the largest below it that was not."""
    rows = sorted(
        (spread, row["over_seeds"]["high"] is not None and row["over_seeds"]["high"] < 0, row)
        for row in data["comparisons"]
        if (spread := arm_spread(data, row["arm"])) is not None
    )
    first = next((place for place, (_, harms, _) in enumerate(rows) if harms), len(rows))
    chosen = rows[first : first + 1] if harmful else rows[max(first - 1, 0) : first]
    if not chosen:
        return "none"
    ((spread, _, row),) = chosen
    return f"{_number(spread)} nats ({row['arm']}: {_interval(row['over_seeds'], 100, '+')} points)"


def collapsed_by_score(data: Data) -> str:
    """Arms with runs whose score fell below half of the base model's, as dose.yaml declares."""
    counts = []
    for arm in data["settings"]["arms"]:
        scores = [run["score"] for run in data["runs"] if run["arm"] == arm and run["score"] is not None]
        low = sum(score < data["base_score"] / 2 for score in scores)
        counts += [f"{arm} {low} of {len(scores)}"] if low else []
    return ", ".join(counts) or "none"


def collapsed(data: Data) -> str:
    """Collapsed runs of each arm, with their steps."""
    counts = []
    for arm in data["arms"]:
        steps = ", ".join(str(step) for step in sorted(arm["onsets"]))
        counts.append(
            f"{arm['name']} {len(arm['onsets'])} of {arm['seeds_found']}" + (f" (step {steps})" if steps else "")
        )
    return "; ".join(counts)


def log_rank(data: Data) -> str:
    """p-value of the steps to collapse."""
    found = [row for row in data["collapse"]["log_rank"] if row["endpoint"] == "collapsed"]
    return "; ".join(
        f"p = {_number(row['p_value'])} (the smallest possible: {_number(row['p_smallest'])})"
        if row["p_value"] is not None
        else row["reason"]
        for row in found
    )


def final_rewards(data: Data) -> str:
    """Reward of each run's last steps, by arm, and after how many steps."""
    steps = max(run["steps"] for run in data["runs"])
    rewards = "; ".join(f"{arm} {_rewards(data, arm)}" for arm in data["settings"]["arms"])
    return f"{rewards} (after {steps} of {data['settings']['max_steps']} steps)"


def _rewards(data: Data, arm: str) -> str:
    """From the lowest to the highest."""
    rewards = [run["reward_final"] for run in data["runs"] if run["arm"] == arm and run["reward_final"] is not None]
    return ", ".join(f"{reward:.1f}" for reward in sorted(rewards))


def differences(data: Data) -> str:
    """Difference of the primary outcome from the baseline, by arm."""
    return "; ".join(
        f"{row['arm']} {_interval(row['over_seeds'], 100, '+')} points of {data['settings']['primary_metric']}"
        for row in data["comparisons"]
    )


def moved(data: Data) -> str:
    """Arms that move the collapse, as smollm2-causes.yaml says: all runs end before bfloat16's, or all outlast them."""
    ends = {arm: _ends(data, arm) for arm in data["settings"]["arms"]}
    before, after = [], []
    for arm, own in ends.items():
        if arm != REFERENCE and own and ends[REFERENCE]:
            if all(_outlasts(other, one) for one in own for other in ends[REFERENCE]):
                before.append(arm)
            if all(_outlasts(one, other) for one in own for other in ends[REFERENCE]):
                after.append(arm)
    return f"later: {', '.join(after) or 'none'}; earlier: {', '.join(before) or 'none'}"


def _ends(data: Data, arm: str) -> list[tuple[int, bool]]:
    """Step of collapse, or the last step, of each run of an arm; whether it collapsed."""
    runs = [run for run in data["collapse"]["runs"] if run["arm"] == arm]
    return [(run["onset_step"] or run["steps"], run["onset_step"] is not None) for run in runs]


def _outlasts(one: tuple[int, bool], other: tuple[int, bool]) -> bool:
    """Whether one run is known to have lasted longer than another, which collapsed."""
    return other[1] and one[0] > other[0]


def audited_spreads(data: Data) -> str:
    """Spread of D of each audited arm."""
    return ", ".join(f"{row['arm']} {_number(row['metrics']['seq_log_ratio_std'])}" for row in data["mismatch"])


def _interval(interval: Data, factor: float, sign: str = "") -> str:
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    if low is None or high is None:
        return f"{factor * value:{sign}.1f} (no interval)"
    return f"{factor * value:{sign}.1f} ({factor * low:{sign}.1f} to {factor * high:{sign}.1f})"


def _number(value: float | None) -> str:
    return "-" if value is None else number(value)


# ------------------------------------------------------------------------------------------------ figures


def figures(data: dict[str, Data]) -> dict[str, Figure]:
    """Figures by experiment."""
    found = {}
    if "dose" in data:
        found["dose"] = dose_figure(data["dose"], data.get("notebook-8b-audit"))
    found |= {
        name: survival_figure(data[name]) for name in ("smollm2", "smollm2-edge", "smollm2-swept") if name in data
    }
    return found


def dose_figure(data: Data, audit: Data | None) -> Figure:
    """The primary outcome of every run against its spread of D; each arm's mean with its interval."""
    points = [run for run in data["runs"] if None not in (run["score"], run["seq_log_ratio_std"])]
    spreads = [run["seq_log_ratio_std"] for run in points]
    audits = {row["arm"]: row["metrics"]["seq_log_ratio_std"] for row in audit["mismatch"]} if audit else {}
    wide = [*spreads, *audits.values()]
    metric, where = data["settings"]["primary_metric"], data["settings"]["primary_set"]
    figure = Figure(
        data["title"],
        Axis("spread of the sequence log-ratio D, nats", min(wide) / 1.5, max(wide) * 1.5, log=True),
        Axis(f"{metric} on {where}, %", 0, 5 * np.ceil(max(100 * run["score"] for run in points) / 5 + 1)),
    )
    for arm, spread in audits.items():
        figure.upright(spread, arm)
    for arm in data["arms"]:
        own = [run for run in points if run["arm"] == arm["name"]]
        if not own:
            continue
        kind, color = _kind(data, arm["name"])
        xs = [run["seq_log_ratio_std"] for run in own]
        figure.points(xs, [100 * run["score"] for run in own], color, kind)
        value, low, high = (arm["score"][key] for key in ("value", "low", "high"))
        if None not in (low, high):
            figure.interval(arm_spread(data, arm["name"]), 100 * value, 100 * low, 100 * high, color)
    return figure


def _kind(data: Data, arm: str) -> tuple[str, str]:
    """The source of an arm's mismatch, and its colour."""
    for kind, color in (("weight_noise", COLORS[0]), ("logit_noise", COLORS[1])):
        if data["noise"].get(kind, {}).get(arm):
            return kind.replace("_", " "), color
    return f"natural {arm}", COLORS[3] if arm == "float16" else COLORS[4]


def survival_figure(data: Data) -> Figure:
    """Share of runs that have not collapsed, by step."""
    last = max((run["steps"] for run in data["collapse"]["runs"]), default=1)
    figure = Figure(data["title"], Axis("step", 0, last), Axis("runs that have not collapsed, share", 0, 1))
    curves = [curve for curve in data["collapse"]["survival"] if curve["endpoint"] == "collapsed"]
    for curve, color in zip(curves, COLORS[3:], strict=False):
        figure.line([*curve["step"], last], [*curve["share"], curve["share"][-1]], color, curve["arm"], stairs=True)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse arguments, take over reports, write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="*", type=Path, help="folders of experiments whose report is taken over")
    args = parser.parse_args(arguments)
    for folder in args.results:
        take(folder, Path("docs/answer"))
    write_document(Path("docs/answer.md"), Path("docs/answer"))


if __name__ == "__main__":
    run(main)
