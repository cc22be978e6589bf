r"""Figures of greetings by occasion: what δ has to do with labels and length, and, where models were sampled, what they wrote.

    R=runs/greetings; python -m benchmarks.greetings_report --data $R/occasions --seeds $R/seed0 $R/seed1 \
        --judge labels.jsonl pairs_test.jsonl --output $R/report

A seed folder holds ``pairs-real`` (stage 3) and, if there are any, ``samples/MODEL`` (``scripts_eval.sample``). The judge is
the n-gram baseline on held-out texts (``--judge``), weighed so that length says nothing. Writes report.md, its tables and
occasions.csv as CSV: figures only, no text. Intervals: 95% bootstrap over occasions, and over seeds where there are several.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.greetings_report")

import csv
from pathlib import Path

import numpy as np

from benchmarks.greetings import ngram_scorer
from benchmarks.greetings_occasions import NAMES, length_bin
from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.evaluation.rendering import Table, interval, markdown, t_words
from diversity_tuning.evaluation.statistics import mean_interval, paired_difference
from diversity_tuning.judging.agreement import auc, auc_within
from diversity_tuning.judging.read import Judged, read_labels_or_pairs
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance, write_text
from studies.captions.copies import NEAR, normalised, similarity_to
from studies.results.statistics import family

GOOD, BAD = "chosen (data)", "rejected (data)"
OPENING, PREFIX = 4, 24  # characters of an opening, and of the part whose trigrams are compared
# Of an occasion's pairs: figure -> what it is called.
DATA = {
    "pairs": "pairs", "longer": "chosen longer", "delta_label": "δ and label", "delta_length": "δ and length",
    "wording_label": "distance in wording and label",
    "good_apart": "diversity of chosen", "bad_apart": "of rejected", "judge_auc": "judge's AUC", "length_auc": "length's AUC",
}  # fmt: skip
# Of a model's responses to an occasion.
MEASURES = {
    "judge": "judge", "length": "characters", "semantic": "semantic diversity", "trigrams": "distinct trigrams",
    "openings": "distinct openings", "known": "known trigrams", "near_copies": "near copies",
}  # fmt: skip
COMPARED = (
    ("dpo", "sft"), ("ddpo", "dpo"), ("ddpo-permuted", "dpo"), ("ddpo", "ddpo-permuted"), ("dpo-gentle", "sft"),
    ("ddpo-gentle", "dpo-gentle"), ("ddpo-permuted-gentle", "dpo-gentle"), ("ddpo-gentle", "ddpo-permuted-gentle"),
)  # fmt: skip


def build_parser() -> Parser:
    parser = Parser("benchmarks.greetings_report", __doc__)
    parser.add_argument("--data", required=True, help="output of benchmarks.greetings_occasions")
    parser.add_argument("--seeds", nargs="+", required=True, help="folders with pairs-real, and samples if there are any")
    parser.add_argument("--judge", nargs="+", required=True, help="files of labels or pairs that no policy was trained on")
    parser.add_output("folder")
    return parser


@command
def main(argv=None) -> None:
    args = parse_with_recipe(build_parser(), argv)
    places = {f"seed_{number}": seed for number, seed in enumerate(args.seeds)}
    judged = {f"judge_{number}": path for number, path in enumerate(args.judge)}
    record = provenance("greetings_report", {}, {"data": args.data, **places, **judged})
    if is_finished(args.output, record, args.overwrite):
        return
    from diversity_tuning.embeddings import load_encoder

    encode = load_encoder(str(Path(args.data) / "encoder"), batch_size=256).encode
    held_out = joined([read_labels_or_pairs(path) for path in args.judge])
    judge = ngram_scorer(held_out, length_weights(held_out))
    pairs = [read_occasions(Path(seed) / "pairs-real") for seed in args.seeds]
    data = [{name: pair_figures(rows, encode, judge) for name, rows in seed.items()} for seed in pairs]
    texts = by_prompt(Path(args.data) / "scored")
    models = [model_figures(Path(seed), own, texts, encode, judge) for seed, own in zip(args.seeds, pairs, strict=True)]
    tables = [data_table(data), *model_tables(models)]
    with atomic_folder(args.output) as folder:
        title = "# Greetings by occasion: figures\n\n"
        write_text(folder / "report.md", title + "\n".join(map(markdown, tables)))
        write_text(folder / "counts.json", (Path(args.data) / "counts.json").read_text(encoding="utf-8"))
        for table in tables:
            write_csv(folder / f"{table.name}.csv", [table.header, *table.rows])
        write_csv(folder / "occasions.csv", long(data, models))
        write_provenance(folder, record)
    print(f"{args.output}: {len(tables)} tables", flush=True)


# The judge.


def joined(parts: list[Judged]) -> Judged:
    """The responses of several files with their labels; their comparisons are not kept."""
    labels = np.concatenate([part.labels for part in parts])
    texts = ([value for part in parts for value in getattr(part, name)] for name in ("prompts", "responses"))
    return Judged(*texts, labels, np.empty((0, 2), dtype=int), from_pairs=False)


def length_weights(judged: Judged) -> np.ndarray:
    """Weights ``(n,)`` with which good and bad responses of a length bin weigh the same: the smaller number of the two.

    A bin with one kind only weighs 0, so a classifier fitted with them can gain nothing from length (beyond the bins' width).
    """
    bins = np.array([length_bin(text) for text in judged.responses])
    weights = np.zeros(len(bins))
    for number in np.unique(bins):
        sides = [np.flatnonzero((bins == number) & (judged.labels == label)) for label in (True, False)]
        for side in sides:
            if len(side):
                weights[side] = min(map(len, sides)) / len(side)
    return weights


# Figures of the pairs.


def read_occasions(folder: Path) -> dict[str, list[dict]]:
    """Occasion -> its pairs, rows of stage 3."""
    from diversity_tuning.data.tables import read_split

    found: dict[str, list[dict]] = {}
    for row in read_split(str(folder), schema.TRAIN):
        found.setdefault(NAMES[row[schema.CHOSEN][0]["content"]], []).append(row)
    return found


def pair_figures(rows: list[dict], encode, judge) -> dict[str, float]:
    """The :data:`DATA` of one occasion. Correlations are Spearman's, over its responses; diversity is mean cosine distance."""
    from studies.captions.fit import spearman

    def diversity(texts):
        return semantic_diversity(texts, encode)

    sides = [[row[side][-1]["content"] for row in rows] for side in (schema.CHOSEN, schema.REJECTED)]
    texts, labels = [*sides[0], *sides[1]], np.arange(2 * len(rows)) < len(rows)
    delta = np.array([row[name] for name in (schema.DEVIATION_CHOSEN, schema.DEVIATION_REJECTED) for row in rows])
    lengths, scores = np.array([len(text) for text in texts]), judge([], texts)
    apart = np.sign(lengths[: len(rows)] - lengths[len(rows) :])
    return {
        "pairs": len(rows), "longer": float(np.mean((apart + 1) / 2)), "delta_label": spearman(delta, labels.astype(float)),
        "delta_length": spearman(delta, lengths), "wording_label": spearman(distance_in_wording(texts), labels.astype(float)),
        "good_apart": diversity(sides[0]), "bad_apart": diversity(sides[1]),
        "judge_auc": float(auc_within(scores, labels, lengths, 0, 0.15)[0][0]), "length_auc": float(auc(lengths, labels)[0]),
    }  # fmt: skip


def distance_in_wording(texts: list[str]) -> np.ndarray:
    """Mean cosine distance of each text to the others in TF-IDF of character 1- and 2-grams, ``(n,)``: δ without an encoder."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    from diversity_tuning.deviation import mean_cosine_distance

    return mean_cosine_distance(TfidfVectorizer(analyzer="char", ngram_range=(1, 2)).fit_transform(texts).toarray())


# Figures of the models.


def by_prompt(folder: Path) -> dict[str, list[str]]:
    """Occasion -> all its responses, chosen and rejected: what the base model read."""
    from diversity_tuning.data.tables import read_split

    found: dict[str, list[str]] = {}
    for row in read_split(str(folder), schema.TRAIN):
        found.setdefault(NAMES[schema.prompt_text(row[schema.POST_TITLE], "")], []).extend(row[schema.COMMENT_TEXTS])
    return found


def model_figures(seed: Path, pairs: dict, training: dict[str, list[str]], encode, judge) -> dict[str, dict[str, dict]]:
    """Model -> occasion -> :data:`MEASURES`. Beside the models: the responses of the pairs."""
    from studies.captions.measure import sampled

    found = {
        name: {occasion: [row[side][-1]["content"] for row in rows] for occasion, rows in pairs.items()}
        for name, side in ((GOOD, schema.CHOSEN), (BAD, schema.REJECTED))
    }
    for folder in sorted((seed / "samples").glob("*/")) if (seed / "samples").is_dir() else []:
        found[folder.name] = {NAMES[prompt]: texts for prompt, texts in sampled(str(folder)).items()}
    size = min(len(texts) for by_name in found.values() for texts in by_name.values())
    known = {gram for texts in training.values() for text in texts for gram in trigrams(text)}
    return {
        model: {
            name: response_figures(texts, size, [] if model in (GOOD, BAD) else training[name], known, encode, judge)
            for name, texts in by_name.items()
        }
        for model, by_name in found.items()
    }


def response_figures(texts: list[str], size: int, training: list[str], known: set, encode, judge) -> dict[str, float]:
    """The :data:`MEASURES` of one model and occasion. Shares of distinct things fall with number: they are over ``size`` texts.

    ``judge``: mean log-odds of good. ``known``: share of a response's trigrams that occur in a training response.
    """
    first = texts[:size]
    grams = [gram for text in first for gram in trigrams(text[:PREFIX])]
    return {
        "judge": float(np.mean(judge([], texts))), "length": float(np.mean([len(text) for text in texts])),
        "semantic": semantic_diversity(texts, encode),
        "trigrams": len(set(grams)) / max(len(grams), 1), "openings": len({text[:OPENING] for text in first}) / len(first),
        "known": float(np.mean([np.mean([gram in known for gram in trigrams(text)] or [0.0]) for text in texts])),
        "near_copies": float((similarity_to(texts, training) >= NEAR).mean()),
    }  # fmt: skip


def semantic_diversity(texts: list[str], encode) -> float:
    """Mean cosine distance of the texts of one occasion."""
    from diversity_tuning.evaluation.metrics import diversity_by_prompt

    return float(diversity_by_prompt(encode(texts), [0] * len(texts)).mean())


def trigrams(text: str) -> list[str]:
    """The character trigrams of a text, punctuation and spaces aside."""
    plain = normalised(text).replace(" ", "")
    return [plain[i : i + 3] for i in range(len(plain) - 2)]


# Tables.


def grid(seeds: list[dict], name: str) -> np.ndarray:
    """The values of a figure, ``(seeds, occasions)``."""
    return np.array([[seed[occasion][name] for occasion in sorted(seeds[0])] for seed in seeds])


def data_table(data: list[dict]) -> Table:
    """Every occasion, mean over seeds, and the mean over occasions."""
    values = {name: grid(data, name) for name in DATA}
    rows = [
        [occasion, *(format(values[name][:, i].mean(), ".0f" if name == "pairs" else ".3f") for name in DATA)]
        for i, occasion in enumerate(sorted(data[0]))
    ]
    means = [str(int(values["pairs"][0].sum())), *(interval(mean_interval(values[name])) for name in list(DATA)[1:])]
    note = (
        "Pairs within an occasion, lengths in one bin. δ: LSA, over the occasion's responses in pairs; Spearman within the"
        " occasion. Chosen longer: share of pairs (.5 is chance). Diversity: mean cosine distance. AUC of the judge where"
        " lengths are within 15%."
    )
    return Table("data", "Pairs of matched length", note, ["occasion", *DATA.values()], [*rows, ["all", *means]])


def model_tables(models: list[dict]) -> list[Table]:
    """Models, and paired differences."""
    values = {model: {name: grid([seed[model] for seed in models], name) for name in MEASURES} for model in models[0]}
    rows = [[model, *(interval(mean_interval(own[name])) for name in MEASURES)] for model, own in values.items()]
    note = (
        f"Mean over occasions. Judge: log-odds of good. Distinct trigrams: of the first {PREFIX} characters. Openings: first"
        f" {OPENING} characters. Known trigrams: share that occur in a training response. The data's rows are the responses in"
        " pairs."
    )
    tables = [Table("models", "Models", note, ["model", *MEASURES.values()], rows)]
    rows, apart = [], []
    for one, other in (*COMPARED, (GOOD, BAD)):
        if one in values and other in values:
            apart += [values[one][name] - values[other][name] for name in MEASURES]
            found = (paired_difference(values[one][name], values[other][name]) for name in MEASURES)
            rows.append([f"{one} − {other}", *(interval(row, sign="+") + t_words(row) for row in found)])
    note = "Paired by occasion; t: over seeds." + family(apart)
    return [*tables, Table("differences", "Differences", note, ["models", *MEASURES.values()], rows)]


def long(data: list[dict], models: list[dict]) -> list[list]:
    """Header and rows: seed, model ("pairs" for figures of the data), occasion, figure, value."""
    rows = [["seed", "model", "occasion", "figure", "value"]]
    for number, (own, written) in enumerate(zip(data, models, strict=True)):
        for model, found in {"pairs": own, **written}.items():
            for occasion, figures in sorted(found.items()):
                rows += [[number, model, occasion, name, format(value, ".6g")] for name, value in figures.items()]
    return rows


def write_csv(path: Path, rows: list[list]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)


if __name__ == "__main__":
    main()
