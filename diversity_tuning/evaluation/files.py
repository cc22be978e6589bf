"""Names of the files of a run folder."""

SAMPLES, RECORD = "samples.jsonl", "sampling.json"  # of the sampling step
SCORES, PROMPTS, METRICS = "scores.csv", "prompts.csv", "metrics.json"  # of the scoring step
GOLD_ROWS = "gold.csv"  # the data's own responses under the published column names
DIGEST = "prompt_digest"  # stands for the prompt in a prompts.csv that is published without texts
