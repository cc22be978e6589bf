r"""Greetings by occasion: data in which length says nothing about the label, and all responses of an occasion share one prompt.

    python -m benchmarks.greetings_occasions --source runs/greetings/data/pairs_clean.jsonl --output runs/greetings/occasions

``--source``: pairs (``benchmarks.greetings prepare`` writes them). A pair's occasion follows from words of its query
(:data:`OCCASIONS`); the prompt becomes the occasion, so both responses join all others of it. Each row of ``scored`` holds an
occasion's responses of about one length (bins of ratio :data:`RATIO`), chosen ones with 1 vote, rejected ones with 0: whatever
stage 2 pairs within a row is matched in length, and stage 3 takes δ over the whole occasion. Also written: ``chosen.jsonl``
(for SFT), ``tokenizer`` (characters), ``encoder`` (latent semantic analysis, a sentence-transformers folder), ``counts.json``.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.greetings_occasions")

import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.greetings import TAGS, character_tokenizer
from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.data import schema
from diversity_tuning.errors import UserError
from diversity_tuning.judging.agreement import relative_difference
from diversity_tuning.judging.read import Judged, read_pairs
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_json, write_json_lines, write_provenance

RATIO = 1.15  # of the longest to the shortest response of a bin
BIRTHDAY = "生日|寿|生辰|岁(?!月)"
ELDERS = "寿|妈|爸|母|父|爷|奶|姥|外公|外婆|老人|长辈|婆婆|公公|岳|舅|姑|姨|叔|伯"
# (prompt, name, patterns that must all be found in the query); the first that fits is the query's occasion.
OCCASIONS = (
    ("送给自己的生日祝福", "birthday: oneself", (BIRTHDAY, "自己|我的")),
    ("送给爱人的生日祝福", "birthday: partner", (BIRTHDAY, "老公|老婆|女朋友|男朋友|女友|男友|爱人|妻|丈夫|对象|恋人")),
    ("送给孩子的生日祝福", "birthday: child", (BIRTHDAY, "女儿|儿子|孩子|宝|孙|娃|小朋友|侄|外甥|公主|周岁|闺女")),
    ("送给长辈的生日祝福", "birthday: elder", (BIRTHDAY, ELDERS)),
    ("送给朋友的生日祝福", "birthday: friend", (BIRTHDAY, "友|闺蜜|闺密|兄弟|姐|妹|哥|弟|同学|知己|同桌")),
    ("生日祝福", "birthday: others", (BIRTHDAY,)),
    ("结婚祝福", "wedding", ("婚|新人|出嫁|嫁女",)),
    ("考试祝福", "exam", ("考|金榜",)),
    ("毕业升学祝福", "school", ("学业|毕业|升学|开学|入学|成人礼|母校",)),
    ("添丁祝福", "new child", ("满月|百日|新生|生孩|得子|得女|喜得|出生|生儿|生女|生宝|怀孕|生子",)),
    ("早安祝福", "morning", ("早安|早上|早晨|清晨|晨",)),
    ("乔迁祝福", "new home", ("乔迁|搬家|新房|新家|入住|入伙|新居",)),
    ("提车祝福", "new car", ("车",)),
    ("开业祝福", "business", ("生意|开业|财|开工|开张|公司",)),
    ("工作祝福", "work", ("工作|升职|高升|同事|入职|事业|离职|退休|升迁|晋升|岗",)),
    ("康复祝福", "health", ("康复|健康|手术|生病|出院",)),
    ("旅途祝福", "journey", ("旅|一路|出行|出差",)),
    ("节日祝福", "festival", ("新年|元旦|春节|拜年|过年|跨年|除夕|[龙蛇兔虎马]年|小年|节|中秋|端午|国庆|七夕|元宵|五一|重阳",)),
)
NAMES = {schema.prompt_text(prompt, ""): name for prompt, name, _ in OCCASIONS}
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}{{ message['content'] }}{{ eos_token }}"
    "{% else %}" + TAGS[0] + "{{ message['content'] }}" + TAGS[1] + TAGS[2] + "{% endif %}{% endfor %}"
)


def build_parser() -> Parser:
    parser = Parser("benchmarks.greetings_occasions", __doc__)
    parser.add_argument("--source", required=True, help="pairs of prompt, chosen, rejected")
    parser.add_argument("--least", type=at_least(1), default=20, help="pairs of matched length that an occasion must have")
    parser.add_argument("--dimension", type=at_least(2), default=64, help="of the encoder")
    parser.add_argument("--vocabulary", type=at_least(100), default=4000, help="of the encoder: characters and their merges")
    parser.add_output("folder")
    return parser


@command
def main(argv=None) -> None:
    args = parse_with_recipe(build_parser(), argv)
    settings = {"least": args.least, "dimension": args.dimension, "vocabulary": args.vocabulary}
    record = provenance("greetings_occasions", settings, {"source": args.source})
    if is_finished(args.output, record, args.overwrite):
        return
    from datasets import Dataset, DatasetDict

    pairs = read_pairs(args.source)
    rows, counts = by_occasion(pairs, args.least)
    if not rows:
        raise UserError(f"{args.source}: no occasion has {args.least} pairs of matched length; give a lower --least")
    texts = [text for row in rows for text in row[schema.COMMENT_TEXTS]]
    prompts = {schema.prompt_text(row[schema.POST_TITLE], "") for row in rows}
    with atomic_folder(args.output) as folder:
        DatasetDict({schema.TRAIN: Dataset.from_list(rows)}).save_to_disk(folder / "scored")
        write_json_lines(folder / "chosen.jsonl", chosen_rows(rows))
        tokenizer = character_tokenizer([*texts, *prompts])
        tokenizer.chat_template = CHAT_TEMPLATE
        tokenizer.save_pretrained(folder / "tokenizer")
        save_encoder(texts, folder / "encoder", args.dimension, args.vocabulary)
        write_json(folder / "counts.json", counts)
        write_provenance(folder, record)
    print(json.dumps(counts), flush=True)


def occasion(query: str) -> str | None:
    """The prompt of the first of :data:`OCCASIONS` whose patterns are all in ``query``; None where none fits."""
    return next((prompt for prompt, _, words in OCCASIONS if all(re.search(word, query) for word in words)), None)


def length_bin(text: str) -> int:
    """The number of the bin of a text's length; lengths in one bin differ by less than ``1 - 1 / RATIO`` of the longer."""
    return math.floor(math.log(max(len(text), 1)) / math.log(RATIO))


def by_occasion(pairs: Judged, least: int) -> tuple[list[dict], dict]:
    """(rows of stage 0's form, one for each occasion and length bin; counts, without texts).

    An occasion with fewer than ``least`` matched pairs is left out. A response that is chosen in one pair of an occasion and
    rejected in another is left out; equal ones count once.
    """
    found: dict[str | None, dict[str, set[bool]]] = {}
    queries = Counter(occasion(pairs.prompts[chosen]) for chosen, _ in pairs.pairs)
    for prompt, response, label in zip(pairs.prompts, pairs.responses, pairs.labels, strict=True):
        found.setdefault(occasion(prompt), {}).setdefault(response, set()).add(bool(label))
    rows, table = [], {}
    for prompt, name, _ in OCCASIONS:
        labels = {text: int(True in kinds) for text, kinds in found.get(prompt, {}).items() if len(kinds) == 1}
        bins: dict[int, list[str]] = {}
        for text in sorted(labels):
            bins.setdefault(length_bin(text), []).append(text)
        good = {number: sum(labels[text] for text in texts) for number, texts in bins.items()}
        matched = sum(min(good[number], len(texts) - good[number]) for number, texts in bins.items())
        table[name] = {"queries": queries[prompt], "responses": len(labels), "matched_pairs": matched}
        if matched >= least:
            rows += [_row(prompt, bins[number], labels) for number in sorted(bins)]
    kept = [entry for entry in table.values() if entry["matched_pairs"] >= least]
    totals = {key: sum(entry[key] for entry in kept) for key in ("queries", "responses", "matched_pairs")}
    return rows, {"pairs": len(pairs.pairs), "own_pairs_within_15": own_matched(pairs), "kept": totals, "occasions": table}


def _row(prompt: str, texts: list[str], labels: dict[str, int]) -> dict:
    """A post of stage 0 whose votes are the labels."""
    return {
        schema.POST_TITLE: prompt, schema.POST_TEXT: "", schema.POST_SCORES: 1, schema.COMMENT_TEXTS: texts,
        schema.COMMENT_SCORES: [labels[text] for text in texts],
        schema.TRANSFORMED_SCORE: [2.0 * labels[text] - 1 for text in texts],
    }  # fmt: skip


def own_matched(pairs: Judged) -> int:
    """How many pairs have, as released, lengths within 15% of the longer."""
    lengths = np.array([len(text) for text in pairs.responses])[pairs.pairs]
    return int((relative_difference(lengths[:, 0], lengths[:, 1]) < 0.15).sum())


def chosen_rows(rows: list[dict]) -> list[dict]:
    """Prompt and response of every chosen text."""
    return [
        {schema.PROMPT: schema.prompt_text(row[schema.POST_TITLE], ""), schema.RESPONSE: text}
        for row in rows
        for text, vote in zip(row[schema.COMMENT_TEXTS], row[schema.COMMENT_SCORES], strict=True)
        if vote
    ]


def save_encoder(texts: list[str], folder: Path, dimension: int, vocabulary: int) -> None:
    """Latent semantic analysis of ``texts`` as a sentence-transformers folder: TF-IDF of merged characters, truncated SVD.

    A token's vector is its row of the right singular vectors times its idf, a text's the mean over its tokens: up to its length
    the projection of the text's TF-IDF row. all-MiniLM, the project's own encoder, knows little Chinese.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, min_frequency=5, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    vectorizer = TfidfVectorizer(analyzer=lambda text: tokenizer.encode(text).tokens)
    rows = vectorizer.fit_transform(texts)
    svd = TruncatedSVD(min(dimension, min(rows.shape) - 1), random_state=0).fit(rows)
    weights = np.zeros((tokenizer.get_vocab_size(), svd.components_.shape[0]), dtype=np.float32)
    for token, column in vectorizer.vocabulary_.items():
        weights[tokenizer.token_to_id(token)] = svd.components_[:, column] * vectorizer.idf_[column]
    weights[tokenizer.token_to_id("[UNK]")] = 0
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu").save(str(folder))


if __name__ == "__main__":
    main()
