"""Path A of RLAIF, stage by stage: candidates are examined by five roles of an LLM, and the verdicts become pairs."""
