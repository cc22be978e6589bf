"""The human study: items, summaries, annotations, statistics and their report."""
