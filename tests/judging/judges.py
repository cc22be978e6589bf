"""Judge files and labelled stories for tests, with the simulated LLM as judge."""

import json

import numpy as np

from diversity_tuning.generation.engine import EngineConfig
from diversity_tuning.generation.requests import SamplingSettings
from diversity_tuning.judging.principles import JudgeFile
from diversity_tuning.judging.roles import load_role, prompt_hash
from studies.judges.adversarial_run import write_judge
from studies.miniature.flawed_stories import labelled_stories
from studies.miniature.simulated_llm.flaws import POOL
from studies.miniature.specification import draw_specification


def save_judge(path, url, principles=("twist", "hero"), model="simulated", **changed):
    """A judge's file of the simulated LLM at ``url``; principles by the names of their flaws, or as sentences."""
    role = load_role("detector")
    fields = {
        "principles": [POOL[one].principle if one in POOL else one for one in principles],
        "language": "en", "task": "stories", "prompt_hash": prompt_hash([role]), "round": 2,
        "engine": EngineConfig("openai", model=model, base_url=url, max_retries=1, timeout=20),
        "sampling": SamplingSettings(temperature=0.1, max_new_tokens=512),
    }  # fmt: skip
    write_judge(path, JudgeFile(**{**fields, **changed}))
    return str(path)


def stories(n=8, seed=0, flaws=("twist",), nuisances=(), each=1):
    """Rows of prompt, response, label and flaws for ``n`` prompts."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        specification = draw_specification(rng)
        prompt = "\n".join(specification.to_post())
        rows += [{"prompt": prompt, **row} for row in labelled_stories(specification, rng, flaws, nuisances, each)]
    return rows


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path)
