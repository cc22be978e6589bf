"""Judges after Wei et al. 2025 (arXiv 2508.21476): path A, verdicts of five roles; path B, principles that are searched for."""
