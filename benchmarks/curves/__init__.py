"""Searchers and schedulers replayed on recorded learning curves: what schedule_curves.py and schedule_parallel.py share."""
