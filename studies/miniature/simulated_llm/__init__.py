"""A simulated LLM: answers the prompts of judging roles about the synthetic stories by rules with noise, behind a real server.

It is no language model. It reads its prompt's text alone and knows a fixed pool of checkable flaws (:mod:`.flaws`), so that a
pipeline of judges can be tried offline and what it finds be compared with what is there.
"""
