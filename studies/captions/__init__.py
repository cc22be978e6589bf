"""An experiment on real text with real votes: captions of cartoon contests, from votes to a report."""
