"""A published table is what the command beside it makes: the same seeds, and test prompts of the same edition of the data."""

import functools
import hashlib
import json
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from datasets import Dataset

from diversity_tuning.data import schema
from diversity_tuning.data.score import clean_title
from diversity_tuning.data.split import split_rows
from diversity_tuning.evaluation.report.runs import TABLE, read_study
from diversity_tuning.recipe import read_recipe
from studies.miniature.world import build_world
from studies.reproduce.__main__ import main as reproduce

ROOT = Path(__file__).parents[1]
# Folder of results/ -> document, the words of its command there, seeds that these words mean.
EIGHT = [*range(8)]
REWARDS = "bash reproduce.sh --methods reinforcement --seeds 0 1 2 --strengths"
PUBLISHED = {
    "miniature": ("docs/RESULTS.md", "`bash reproduce.sh --seeds 0 1 2 3 4 5 6 7`", EIGHT),
    "miniature/controls": ("docs/RESULTS.md", "bash reproduce.sh --controls --seeds 0 1 2  ", [0, 1, 2]),
    "miniature-popularity": ("docs/RESULTS.md", "bash reproduce.sh --popularity 0 0.5 1 1.5 --seeds 0 1 2 3 4 5 6 7", EIGHT),
    "miniature-ablation": ("docs/RESULTS.md", "`bash reproduce.sh --ablation`, seed 0", [0]),
    "miniature-claims": ("docs/RESULTS.md", "bash reproduce.sh --claims --seeds 8 9 10 11 12 13 14 15", [*range(8, 16)]),
    "miniature-claims-methods": (
        "docs/METHODS.md",
        "bash reproduce.sh --claims --methods --strengths spl=3 crpo=2 divpo=50 dorpo-both=1 --seeds 8 9 10 11 12 13 14 15",
        [*range(8, 16)],
    ),
    "miniature-methods": ("docs/METHODS.md", "bash reproduce.sh --methods --seeds 0 1 2  ", [0, 1, 2]),
    "miniature-methods-validation": ("docs/METHODS.md", "bash reproduce.sh --methods --seeds 0 1 2  ", [0, 1, 2]),
    "miniature-methods-reinforcement": ("docs/METHODS.md", REWARDS, [0, 1, 2]),
    "miniature-methods-reinforcement-validation-fixed": ("docs/METHODS.md", REWARDS, [0, 1, 2]),
    "miniature-methods-reinforcement-validation": ("docs/METHODS.md", "bash reproduce.sh --methods reinforcement  ", [0]),
    "miniature-rlaif": ("docs/RLAIF.md", "`bash reproduce.sh --rlaif --seeds 0 1 2`", [0, 1, 2]),
}
EDITIONS = (1, 2)


@functools.cache
def prompts_of(edition, seed, split=schema.TEST):
    """Digests of the test prompts, or those of another split, that the miniature's recipe makes of an edition."""
    recipe, splits = (read_recipe(ROOT / "recipes" / "miniature" / f"{name}.yaml") for name in ("world", "0_data_prep_scoring"))
    posts = [row for row, _ in build_world(seed, recipe["num_prompts"], recipe["popularity"], edition)]
    titles = [clean_title(post[schema.POST_TITLE]) for post in posts]
    rows = Dataset.from_dict({schema.POST_TITLE: titles, schema.POST_TEXT: [post[schema.POST_TEXT] for post in posts]})
    own = split_rows(rows, 42, splits["test_size"], splits["validation_size"], splits["group_split"])[split]
    texts = dict.fromkeys(schema.prompt_text(row[schema.POST_TITLE], row[schema.POST_TEXT]) for row in own)
    return {hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts}


def seeds_of(study):
    """The seeds of a published table."""
    folder = ROOT / "results" / study
    table = next(path for name in ("models.csv", "popularity.csv") if (path := folder / name).is_file())
    rows = pd.read_csv(table, dtype={"seed": str})
    return sorted(int(seed) for seed in set(rows["seed"].dropna()) - {"all", "0/0"})


def edition_of(study):
    """The edition that the published runs are of: by the digests of their prompts, or by the number of these."""
    folder = ROOT / "results" / study
    home = folder if (folder / "provenance.json").is_file() else folder.parent
    if study == "miniature-popularity":  # values per prompt without digests: SFT is that of the main runs
        sft = pd.read_csv(folder / TABLE).query("model == 'sft' and popularity == 1.5").groupby("seed")["craft"].mean()
        main = pd.read_csv(ROOT / "results" / "miniature" / TABLE).query("method == 'sft'").groupby("seed")["craft"].mean()
        assert sft.tolist() == pytest.approx(main.tolist(), abs=1e-6)
        return edition_of("miniature")
    if (home / TABLE).is_file():
        rows = pd.read_csv(home / TABLE, usecols=["seed", "prompt_digest"])
        found = {int(seed): set(own) for seed, own in rows.groupby("seed")["prompt_digest"]}
        split = schema.VALIDATION if "-validation" in study else schema.TEST
        return next(one for one in EDITIONS if all(own == prompts_of(one, seed, split) for seed, own in found.items()))
    counts = {(run["seed"] or 0, run["counts"]["prompts"]) for run in read_study(home)["runs"]}
    return next(one for one in EDITIONS if counts == {(0, len(prompts_of(one, 0)))})


@pytest.mark.parametrize("study", PUBLISHED)
def test_the_command_beside_a_table_makes_it(study):
    """Where the runs are of another edition than the recipe's, the document says so in the command's paragraph."""
    document, command, seeds = PUBLISHED[study]
    text = (ROOT / document).read_text(encoding="utf-8")
    assert text.count(command) == 1
    section = next(part for part in re.split(r"(?m)^#+ ", text) if command in part)
    assert seeds_of(study) == seeds
    made = read_recipe(ROOT / "recipes" / "miniature" / "world.yaml")["edition"]
    if (edition := edition_of(study)) != made:
        paragraph = next(part for part in section.split("\n\n") if command in part)
        assert f"edition {edition}" in paragraph.lower(), f"{study} is of edition {edition}, the command makes edition {made}"


# Folder of results/ -> document, its command there, table with a row a prompt, models that no stage of the command trains.
OTHERS = {
    "horror": ("docs/HORROR.md", "bash reproduce.sh --recipe horror --full", "prompts.csv.gz", set()),
    "captions": (
        "docs/CAPTIONS.md", "bash reproduce.sh --recipe captions --source caption_contest_full.jsonl.gz --full",
        "contests.csv", {"people"},
    ),
    "real": (
        "docs/REAL.md",
        "bash reproduce.sh --recipe smollm2 --source runs/ocsai.jsonl.gz --folds --seeds 0 1 2 3 4 --out runs/real/ocsai",
        "prompts.csv", {"people"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def votes(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "votes.jsonl"
    row = {"post_title": "a", "post_text": "", "comment_texts": ["b", "c"], "comment_scores": [1, 2]}
    path.write_text(json.dumps(row) + "\n")
    return str(path)


def printed(capsys, command, votes):
    """What ``--dry_run`` prints for a document's command."""
    words = shlex.split(command.removeprefix("bash reproduce.sh"))
    words = [votes if before == "--source" else word for before, word in zip(["", *words], words, strict=False)]
    assert reproduce([*words, "--dry_run"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("study", OTHERS)
def test_the_command_beside_a_study_makes_its_seeds_and_models(study, capsys, votes):
    document, command, table, given = OTHERS[study]
    assert command in (ROOT / document).read_text(encoding="utf-8")
    lines = printed(capsys, command, votes)
    rows = pd.read_csv(ROOT / "results" / study / table, usecols=["seed", "model"])
    assert set(rows["seed"]) == set(re.findall(r"/(seed\d+)/", lines))
    for model in set(rows["model"]) - given:
        assert re.search(rf"/{re.escape(model)}(?![\w.-])", lines), model


PLANS = [
    "", "--full", "--controls", "--popularity", "--ablation", "--rlaif", "--recipe horror", "--recipe llama-3.1-8b --full",
    "--recipe captions --source s", "--recipe smollm2 --source s --folds --seeds 0 1 2 3 4 --out runs/real/ocsai",
    "--recipe smollm2 --source s --folds captions --dial --out runs/real/captions",
    "--recipe smollm2 --source s --folds storyer --out runs/real/storyer",
]  # fmt: skip
MADE = re.compile(r"(?<!--output )(?<!--output_dir )\bruns/(?:miniature|horror|captions|real|llama-3\.1-8b)/[\w/.<>*-]*[\w>*]")


def test_folders_that_documents_read_are_those_that_the_plans_write(capsys, votes):
    """But for logs, and for what the commands beside them write themselves."""
    lines = "\n".join(printed(capsys, plan, votes) for plan in PLANS)
    missing = []
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "results").glob("*/README.md")):
        if path.name == "LOG.md":
            continue
        text = path.read_text(encoding="utf-8")
        for named in set(MADE.findall(text)) - {"runs/llama-3.1-8b/seed0/logs"}:
            pattern = re.escape(named).replace("<N>", r"\d").replace("<P>", r"[\d.]+").replace(r"\*", "[^/ ]+")
            pattern = pattern.removesuffix(r"/report\.md")
            if not re.search(rf"{pattern}(?![\w-])", lines) and f"--output {named}" not in text:
                missing.append((path.name, named))
    assert missing == []


@pytest.mark.parametrize("name", ["training", "training-medium"])
def test_commands_of_timed_steps_are_those_of_their_tables(name):
    first = (ROOT / "results" / "benchmarks" / f"{name}.md").read_text(encoding="utf-8").splitlines()[0]
    command = first[first.index("python -m") :].rstrip("`")
    for document in ("results", "benchmarks"):
        assert f"{command}\n" in (ROOT / document / "README.md").read_text(encoding="utf-8").replace("`", "\n")
