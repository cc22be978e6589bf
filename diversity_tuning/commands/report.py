"""Tables and figures of scored runs (paper, figures 2 to 5), and a page to read them with samples. Needs neither GPU nor torch.

python -m scripts_eval.report --results runs/llama-3.1-8b/seed0/eval --output report --compare ddpo-both:dpo dorpo-both:orpo
python -m scripts_eval.report --runs runs/mine/eval/{dpo,ddpo-both} --output runs/my-report --compare all

Writes report.md, report.html (one file, figures and samples inside), summary.txt, tables as .csv and .tex, figures as .png
and .pdf.
"""

from dataclasses import dataclass
from pathlib import Path

from diversity_tuning.cli import command
from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.next_steps import print_next
from diversity_tuning.ranges import Flags


@dataclass(frozen=True)
class ReportConfig(Flags):
    """Which runs are reported, and how."""

    output: str = flag("folder to write to")
    runs: list[str] | None = flag("scored run folders, in the order of the table", default=None)
    results: str | None = flag("instead of --runs: every scored run below this folder", default=None)
    compare: list[str] = flag("paired differences, by name or method; all: of any two", factory=list, metavar="ONE:OTHER")
    anchor: str | None = flag("model that counts as a point of every front, such as sft", default=None)
    figure: bool = flag("draw the figures", default=True)
    ablation: bool = flag("strengths are the most responses a prompt: draw the paper's figure 3", default=False)
    samples: int = flag("prompts whose samples the page shows", default=12, least=0)
    show: list[str] | None = flag("models whose samples it shows; default: up to 6", default=None, metavar="MODEL")
    human: list[str] = flag("outputs of scripts_eval.human_eval_analysis: adds their tables", factory=list, metavar="FOLDER")
    controls: list[str] | None = flag(
        "methods for tables of differences to --baselines; grey points", default=None, metavar="METHOD"
    )
    baselines: list[str] | None = flag("what the controls are compared with", default=None, metavar="MODEL")
    note: str | None = flag('what the figure says of the data, such as "synthetic data"', default=None)

    def __post_init__(self):
        super().__post_init__()
        if (self.runs is None) == (self.results is None):
            raise UserError("give either --runs or --results")
        if (self.controls is None) != (self.baselines is None):
            raise UserError("--controls and --baselines: give both or none")


@command
def main(argv=None) -> None:
    config = parse_flags(ReportConfig, "scripts_eval.report", __doc__, argv, extra="evaluation")
    from diversity_tuning.evaluation.report.build import make_report
    from diversity_tuning.evaluation.report.runs import find_runs
    from diversity_tuning.human_eval.report import human_tables

    folders = [Path(run) for run in config.runs] if config.runs else find_runs(config.results)
    names = ("compare", "anchor", "figure", "ablation", "samples", "show", "controls", "baselines", "note")
    options = {name: getattr(config, name) for name in names}
    further = human_tables([Path(folder) for folder in config.human])
    summary = make_report(folders, Path(config.output), **options, further=further)
    print(f"{summary}\n{config.output}: report of {len(folders)} runs, with figures and samples", flush=True)
    print_next("report", config.output)
