r"""The report of --rlaif: tables and figures as one HTML page, Markdown and CSV, values per prompt without texts.

python -m studies.miniature.rlaif.report --runs runs/miniature/seed0/eval/{sft,dpo,ddpo-both} \
        runs/miniature/seed0/eval-rlaif/*/ --seeds runs/miniature/seed0 --compare grpo-advantage:grpo \
        --output runs/miniature/report-rlaif
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.miniature.rlaif.report")

from diversity_tuning.cli import Parser, command, parse_with_recipe

_SHOWN = 6  # prompts with samples on the page
_METHOD = """\
The miniature: synthetic stories and votes, whose true craft, plots and voices rules can recognise. Where a policy was trained
with a judge, the judge's LLM is simulated: it shows that the mechanism works, and nothing about the taste of an LLM. Intervals:
95% percentile bootstrap over prompts; over several seeds, of seeds and then of prompts within each, rough with three seeds; t:
Student's interval over the seeds' means. No correction for the number of comparisons.
"""


@command
def main(argv=None) -> None:
    parser = Parser("studies.miniature.rlaif.report", __doc__)
    parser.add_argument("--runs", nargs="+", required=True, help="scored runs of SFT, DPO, DDPO and GRPO")
    parser.add_argument("--seeds", nargs="+", required=True, help="seed folders: their grpo*/metrics.jsonl are the curves")
    parser.add_argument("--compare", nargs="+", default=[], help="methods as one:other: paired, and against the other's curve")
    parser.add_argument("--output", required=True, help="folder for report.html, report.md, tables and figures")
    args = parse_with_recipe(parser, argv)
    print(write_report(args.runs, args.seeds, args.compare, args.output), flush=True)


def write_report(folders: list[str], seeds: list[str], compare: list[str], output: str) -> str:
    """Write everything into ``output``; returns what to print."""
    from os.path import relpath

    from diversity_tuning.evaluation.report.build import FOLDERS
    from diversity_tuning.evaluation.report.page_samples import samples_section
    from diversity_tuning.evaluation.report.runs import check_seeds, group_runs, read_run
    from diversity_tuning.evaluation.report.tables import difference_table, model_table, paired_models
    from studies import report as study
    from studies.miniature.rlaif import figures, tables, training
    from studies.miniature.rlaif.measures import add_measures, distinct_openings

    runs = [read_run(folder) for folder in folders]
    for run in runs:
        add_measures(run)
    check_seeds(runs)
    models = sorted(group_runs(runs), key=_order)
    there = {name for model in models for name in (model.label, model.method)}
    compare = [pair for pair in compare if set(pair.split(":")) <= there]
    columns = [*tables.SHOWN, "distinct_k"]
    openings = {model.label: sum(map(distinct_openings, model.runs)) / len(model.runs) for model in models}
    frames = {
        "models": model_table(models, columns),
        "differences": difference_table(paired_models(models, compare), columns),
        "equal": tables.equal_quality(models, compare),
        "curves": training.read_curves(seeds, {model.method for model in models}),
        "prompts": _values(models, columns),
    }
    found = [
        tables.main_table(frames["models"], openings),
        tables.difference_rows(frames["differences"]),
        tables.equal_table(frames["equal"]),
        training.training_table(frames["curves"]),
        training.reward_table(seeds),
        tables.seed_table(frames["models"]),
    ]
    found = [table for table in found if table]

    def draw(folder):
        pictures = [
            (figures.plot_trade_offs(models, folder), "Diversity against reward and craft; lines: from SFT over checkpoints"),
            (figures.plot_training(frames["curves"], models, folder), "On the way, by step: mean over seeds, each seed faint"),
        ]
        return [(path, caption) for path, caption in pictures if path]

    return study.write_report(
        output,
        "rlaif_report",
        {"compare": compare, "runs": folders, "seeds": seeds},
        "GRPO beside DPO and DDPO: the miniature",
        found,
        draw,
        frames,
        {model.label: len(model.runs) for model in models},
        method=_METHOD,
        sections={"Samples": samples_section(models, _SHOWN, None)},
        **{FOLDERS: [relpath(run, output) for run in folders]},
    )


_METHODS = ("sft", "dpo", "ddpo-both", "grpo", "grpo-advantage", "grpo-reward", "grpo-darling", "grpo-judge")


def _order(model) -> tuple:
    """Methods as above, others after them; checkpoints in the order of training."""
    place = _METHODS.index(model.method) if model.method in _METHODS else len(_METHODS)
    return place, model.method, float(model.strength or 1)


def _values(models: list, columns: list[str]):
    """Every value per seed, policy and prompt: what all means and intervals are computed from; no texts."""
    import pandas as pd

    from diversity_tuning.evaluation.report.runs import RUN
    from studies.results.publish import run_name

    parts = []
    for model in models:
        for place, run in enumerate(model.runs):
            rows = run.prompts.reindex(columns=columns).reset_index(drop=True)
            seed = place if run.seed is None else run.seed
            labels = {RUN: run_name(run.folder, run.seed), "policy": model.label, "seed": seed, "prompt": range(len(rows))}
            parts.append(pd.concat([pd.DataFrame(labels), rows], axis=1))
    return pd.concat(parts, ignore_index=True)


if __name__ == "__main__":
    main()
