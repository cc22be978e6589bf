"""Path B: an LLM judge whose principles are found by an adversary and by reflection."""
