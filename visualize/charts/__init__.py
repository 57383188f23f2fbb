"""Pictures of a training run, with matplotlib: curves, histograms over time, confusion, the worst images."""
