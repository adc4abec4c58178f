"""Tuning: spaces, trials, studies, and the strategies that search them."""
