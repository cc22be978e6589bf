"""Sample, score and plot two adapters of one base model with the Python API, cell by cell as in a notebook.

PYTHONPATH=. python examples/compare_adapters.py                     # the miniature, after `bash reproduce.sh`
PYTHONPATH=. python examples/compare_adapters.py FOLDER OUTPUT       # other folders of the same layout

FOLDER holds base/, the adapters dpo/ and ddpo-both/, reward/, stylometry/ and data/filtered/. Every step is skipped when its
output is there and was made with the same settings.
"""

# %% Where things are
import sys
from pathlib import Path

from diversity_tuning.data.schema import REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.report.build import make_report
from diversity_tuning.evaluation.report.runs import read_run
from diversity_tuning.evaluation.sampling.run import SamplingConfig, sample_run
from diversity_tuning.evaluation.scoring.auxiliary import add_to_run
from diversity_tuning.evaluation.scoring.run import ScoringConfig, score_run
from diversity_tuning.evaluation.statistics import paired_difference
from diversity_tuning.generation.engine import EngineConfig
from diversity_tuning.generation.requests import SamplingSettings

root, output = Path("runs/miniature/seed0"), Path("runs/my-comparison")
if __name__ == "__main__" and len(sys.argv) == 3:
    root, output = map(Path, sys.argv[1:])
adapters = ("dpo", "ddpo-both")

# %% Sample four responses to each of twenty test prompts
for name in adapters:
    engine = EngineConfig(base_model=str(root / "base"), adapter=str(root / name))
    settings = SamplingSettings(repetition_penalty=1.0, max_new_tokens=160)
    data = str(root / "data" / "filtered")
    sample_run(SamplingConfig(data, str(output / name), engine, settings, start=0, num_prompts=20))

# %% Score them: reward, semantic and style diversity; then the metrics that are functions of a prompt's responses
for name in adapters:
    scoring = ScoringConfig(
        str(output / name),
        reward_model=str(root / "reward"),
        semantic_model="builtin:minilm",
        style_model=f"builtin:stylometry:{root / 'stylometry'}",
        distinct_threshold=0.3,
        quality_threshold=0.65,
    )
    score_run(scoring)
    add_to_run(output / name, variant="whole")

# %% Differences, paired over prompts
dpo, ddpo = (read_run(output / name).prompts for name in adapters)
for column in (REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY):
    difference = paired_difference(ddpo[column], dpo.loc[ddpo.index, column])
    print(f"{registry.label(column)}: {difference['mean']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]")

# %% Figures, tables and a page to read
print(make_report([output / name for name in adapters], output / "report", compare=["ddpo-both:dpo"]))
print(f"{output / 'report' / 'report.html'}: figures, tables and samples")
