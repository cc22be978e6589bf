"""DiversityTuning: deviation-weighted preference training for writing that is good and various."""
