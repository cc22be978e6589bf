r"""Measure sampled answers to held-out prompts, and people's beside them: rewards, diversity, fluency, fit to the prompt.

    R=runs/smollm2-folds/seed0; python -m studies.real.measure --samples $R/samples/sft $R/samples/dpo \
        --source $R/data/filtered --output $R/measures \
        --reward_a $R/reward --reward_ridge $R/reward-ridge --reward_b $R/reward-b

Beside the models stands a row ``people``: as many responses of the split, drawn at random. Writes prompts.csv (model, prompt,
measures), answers.csv.gz (a row per answer, its measures, no texts) and examples.md (the first answers of every model). Where
models have been added to those of an earlier run, all are measured again. A prompt of which sampling gave up answers
(--accept_failures) is left out for this model, and counted in provenance.json.
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.real.measure")

from pathlib import Path

import numpy as np

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.errors import UserError
from diversity_tuning.outputs import read_provenance
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance
from studies.captions.measure import PEOPLE, drawn, examples, sampled

# Column -> what it is called in tables. Means over the answers to a prompt; those of OF_ALL are of all answers to it together.
MEASURES = {
    "reward_a": "reward A", "reward_ridge": "reward A, ridge", "reward_b": "reward B",
    "semantic_diversity": "semantic diversity", "other_diversity": "diversity, other encoder",
    "ngram_diversity": "n-gram diversity", "distinct": "distinct", "distinct_k": "different kinds",
    "log_prob": "log-likelihood a token", "lints": "lints per 100 words", "seq_rep_4": "seq-rep-4", "fit": "fit",
    "copies": "copies", "words": "words",
}  # fmt: skip
# What is counted of models that were asked for answers in a form, or have some missing.
FORM = {
    "replies": "replies", "read": "in the form that was asked for", "missing": "answers missing", "left_out": "prompts lost",
}  # fmt: skip
OF_ALL = ("ngram_diversity", "distinct", "distinct_k", "lints")
PROMPTS, ANSWERS, EXAMPLES = "prompts.csv", "answers.csv.gz", "examples.md"
NOT_COUNTED = "Capitalization"  # answers are phrases as often as sentences
_SAME = 0.05  # share of people's pairs of answers to a training prompt that count as of one kind
_PEOPLES = 60  # of people's answers to a training prompt, for that


def build_parser() -> Parser:
    parser = Parser("studies.real.measure", __doc__)
    parser.add_argument("--samples", nargs="+", required=True, help="folders of scripts_eval.sample; a model goes by its name")
    parser.add_argument("--source", required=True, help="output of data stage 1: training responses, and people's of --split")
    parser.add_argument("--split", default=schema.TEST, help="split of people's responses")
    parser.add_argument("--reward_a", required=True, help="reward model of the half that the policies were trained on")
    parser.add_argument("--reward_ridge", required=True, help="output of studies.captions.fit for the same half")
    parser.add_argument("--reward_b", required=True, help="output of studies.captions.fit for the other half")
    parser.add_argument("--semantic_model", default="builtin:minilm", help="encoder of diversity and of fit")
    parser.add_argument("--other_model", default="builtin:smollm2", help="an encoder that no δ is made of")
    parser.add_argument("--fluency_model", default="builtin:smollm2", help="untrained causal model of the log-likelihood")
    parser.add_argument("--dtype", default=None, help="of the fluency model (default: of its weights)")
    parser.add_argument("--embedding_cache", default=None, help="folder that keeps embeddings between runs")
    parser.add_argument("--batch_size", type=at_least(1), default=64, help="texts read at once")
    parser.add_argument("--seed", type=at_least(0), default=0, help="which of people's responses are drawn")
    parser.add_output("folder for the tables and examples.md")
    return parser


@command
def main(argv=None) -> None:
    args = parse_with_recipe(build_parser(), argv)
    from diversity_tuning.evaluation.sampling.run import followed
    from diversity_tuning.evaluation.sampling.samples import read_samples
    from studies.captions.data import read_filtered
    from studies.captions.measure import sample_files

    inputs = sample_files(args.samples, (PEOPLE,))
    names = list(inputs)
    kept = ("split", "seed", "semantic_model", "other_model", "fluency_model", "dtype")
    settings = {name: getattr(args, name) for name in kept}
    more = {"source": args.source, "reward_a": args.reward_a, "reward_ridge": args.reward_ridge, "reward_b": args.reward_b}
    record = provenance("real_measure", settings, {**inputs, **more})
    if is_finished(args.output, record, args.overwrite or lacks_something(args.output, record)):
        return
    texts, given_up = alike({name: path.parent for name, path in inputs.items()})
    first = next(name for name in names if name not in given_up)
    people = drawn(read_filtered(args.source, args.split), texts[first], args.seed)
    texts = {PEOPLE: people, **texts}
    unfinished = {name: sum(not row.finished for row in read_samples(path.parent)) for name, path in inputs.items()}
    form = {name: found for name, path in inputs.items() if (found := followed(path.parent) | given_up.get(name, {}))}
    answers, threshold, cut = labelled(texts, args)
    prompts = by_prompt(answers)
    with atomic_folder(args.output) as folder:
        prompts.to_csv(folder / PROMPTS, index=False, float_format="%.6g")
        shown = answers.drop(columns=["text", "plain"])
        shown.to_csv(folder / ANSWERS, index=False, float_format="%.5g", compression={"method": "gzip", "mtime": 0})
        (folder / EXAMPLES).write_text(examples(texts), encoding="utf-8")
        told = {"threshold_of_kinds": threshold, "truncated_texts": cut, "cut_at_max_new_tokens": unfinished, "form": form}
        write_provenance(folder, record, models=list(texts), **told)
    print(f"{args.output}: {len(texts)} models, {prompts['prompt'].nunique()} prompts, {len(answers)} answers", flush=True)
    if any(unfinished.values()):
        print("  cut at the longest length: " + ", ".join(f"{name} {n}" for name, n in unfinished.items()), flush=True)
    for name, own in form.items():
        print(f"  {name}: {', '.join(f'{n} {FORM[key]}' for key, n in own.items())}", flush=True)


def alike(folders: dict[str, Path]) -> tuple[dict[str, dict[str, list[str]]], dict[str, dict[str, int]]]:
    """(model -> prompt -> answers, model -> ``{"missing": answers, "left_out": prompts}`` where sampling gave answers up).

    As many answers to the same prompts everywhere; a model that gave some up has those prompts alone to which it has all
    answers, perhaps none. :class:`UserError` where a model lacks answers otherwise.
    """
    from diversity_tuning.evaluation.sampling.run import read_record

    texts = {name: sampled(folder) for name, folder in folders.items()}
    counts = {name: {prompt: len(answers) for prompt, answers in own.items()} for name, own in texts.items()}
    missing = {name: len(read_record(folder).get("failures", [])) for name, folder in folders.items()}
    first = next((name for name in folders if not missing[name]), None)
    if first is None:
        raise UserError("--samples: answers are missing of every model; sample at least one to its end")
    given_up = {}
    for name, own in counts.items():
        whole = own.items() & counts[first].items()
        lacks = sum(counts[first].values()) - sum(own.values())
        same = own.keys() <= counts[first].keys() and lacks == missing[name] if missing[name] else own == counts[first]
        if not same or not counts[first]:
            raise UserError(f"{folders[name]}: not as many answers to the same prompts as {folders[first]}; sample them alike")
        if missing[name]:
            texts[name] = {prompt: texts[name][prompt] for prompt in own if (prompt, own[prompt]) in whole}
            given_up[name] = {"missing": missing[name], "left_out": len(counts[first]) - len(whole)}
    return texts, given_up


def lacks_something(output: str, record: dict) -> bool:
    """Whether the measures in ``output`` differ from those asked for in nothing but models or measures added since.

    They are made again then: of what was measured nothing is lost.
    """
    made = read_provenance(output)
    if not all(made.get(key) == record[key] for key in ("stage", "arguments")):
        return False
    inputs = made.get("inputs", {})
    return inputs.items() < record["inputs"].items() or (inputs == record["inputs"] and lacks_measures(output))


def lacks_measures(output: str) -> bool:
    """Whether the values by prompt in ``output`` are of an edition with fewer :data:`MEASURES`."""
    import pandas as pd

    table = Path(output) / PROMPTS
    return table.exists() and not MEASURES.keys() <= set(pd.read_csv(table, nrows=0).columns)


def labelled(texts: dict[str, dict[str, list[str]]], args) -> tuple:
    """(a table of a row per answer, the distance below which two answers are of one kind, encoder -> texts that it cuts).

    ``texts``: model -> prompt -> answers.
    """
    import pandas as pd

    from diversity_tuning.embeddings import load_encoder
    from diversity_tuning.embeddings.encoder import tell_cut
    from diversity_tuning.evaluation.metrics import diversity_by_prompt, seq_rep
    from diversity_tuning.evaluation.scoring.fluency import log_probs
    from diversity_tuning.partition import near_classes
    from diversity_tuning.reward_model import load_reward_model
    from studies.captions.caption_reward import load_caption_reward
    from studies.captions.copies import normalised
    from studies.captions.data import read_filtered

    encoder, other = (
        load_encoder(name, batch_size=args.batch_size, cache=args.embedding_cache)
        for name in (args.semantic_model, args.other_model)
    )
    training = read_filtered(args.source, schema.TRAIN)
    rows = [
        (model, prompt, number, text)
        for model, of_prompt in texts.items()
        for prompt, own in of_prompt.items()
        for number, text in enumerate(own)
    ]
    table = pd.DataFrame(rows, columns=["model", "prompt", "sample", "text"])
    asked, written = table["prompt"].tolist(), table["text"].tolist()
    table["plain"] = [normalised(text) for text in written]
    table["words"] = [len(text.split()) for text in table["plain"]]
    known = {normalised(text) for own in training.values() for text in own}
    table["copies"] = [bool(text) and text in known for text in table["plain"]]
    table["reward_a"] = load_reward_model(args.reward_a).score(asked, written, args.batch_size)
    for name in ("reward_ridge", "reward_b"):
        reward = load_caption_reward(getattr(args, name), args.semantic_model, encoder.encode)
        table[name] = reward.score(asked, written)
    table["log_prob"] = log_probs(asked, written, args.fluency_model, dtype=args.dtype)
    table["lints"] = lints(written)
    table["seq_rep_4"] = [seq_rep(text) for text in table["plain"]]
    cut = {name: tell_cut(one, written) for name, one in ((args.semantic_model, encoder), (args.other_model, other))}
    vectors, groups = encoder.encode(written), [*zip(table["model"], asked, strict=True)]
    table["semantic_diversity"] = diversity_by_prompt(vectors, groups)
    table["other_diversity"] = diversity_by_prompt(other.encode(written), groups)
    table["fit"] = fits(vectors, asked, encoder.encode)
    threshold = kinds_threshold(training, encoder.encode)
    table["kind"] = -1
    for places in table.groupby(["model", "prompt"], sort=False).indices.values():
        table.loc[places, "kind"] = near_classes(vectors[places], threshold)
    return table, threshold, cut


def lints(texts: list[str]) -> list[int]:
    """How many faults of grammar, spelling or usage Harper finds in each text, missing capitals aside."""
    from diversity_tuning.missing import require

    require("real", ("harper",))
    import harper

    linter = harper.Linter()
    found = {
        text: sum(lint.lint_kind != NOT_COUNTED for lint in linter.lint(text, language="plaintext")) for text in set(texts)
    }
    return [found[text] for text in texts]


def fits(vectors: np.ndarray, prompts: list[str], encode) -> np.ndarray:
    """Share of the other prompts that each answer is farther from than from its own: ``(n,)`` in [0, 1], .5 by chance.

    ``vectors`` (n, d) of the answers, of norm 1; ``encode``: prompts -> such vectors. NaN where there is one prompt only.
    """
    names = list(dict.fromkeys(prompts))
    if len(names) < 2:
        return np.full(len(vectors), np.nan)
    cosines = vectors @ encode([name.strip() for name in names]).T
    own = cosines[np.arange(len(vectors)), [names.index(prompt) for prompt in prompts]]
    return (cosines < own[:, None]).sum(axis=1) / (len(names) - 1)


def kinds_threshold(training: dict[str, list[str]], encode) -> float:
    """The distance that :data:`_SAME` of the pairs of people's answers to the same training prompt are nearer than."""
    from diversity_tuning.evaluation.scoring.distinct import pairs_within, quantile_threshold
    from diversity_tuning.partition import distances_of

    own = [(prompt, text) for prompt, texts in training.items() for text in texts[:_PEOPLES]]
    pairs = pairs_within([prompt for prompt, _ in own])
    return quantile_threshold(distances_of(encode([text for _, text in own]), pairs), _SAME)


def by_prompt(answers):
    """A row per model and prompt with the :data:`MEASURES`; NaN where a model has no answers to a prompt of the others."""
    import pandas as pd

    from diversity_tuning.evaluation.metrics import ngram_diversity_score

    groups = answers.groupby(["model", "prompt"], sort=False)
    table = groups[[name for name in MEASURES if name not in OF_ALL]].mean()
    table["ngram_diversity"] = groups["plain"].agg(lambda texts: ngram_diversity_score(list(texts)))
    table["distinct"] = groups["plain"].nunique() / groups.size()
    table["distinct_k"] = groups["kind"].nunique()
    words = groups["words"].sum()
    table["lints"] = 100 * groups["lints"].sum() / words.where(words > 0)
    table.insert(0, "answers", groups.size())
    both = [answers[name].unique() for name in ("model", "prompt")]
    table = table.reindex(pd.MultiIndex.from_product(both, names=["model", "prompt"]))
    table["answers"] = table["answers"].fillna(0).astype(int)
    return table.reset_index()[["model", "prompt", "answers", *MEASURES]]


if __name__ == "__main__":
    main()
