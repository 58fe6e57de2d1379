"""Learned dynamics: normalisation, the factor model, training, ensembles, run directories."""
