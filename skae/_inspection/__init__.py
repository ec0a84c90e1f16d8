"""Displays, comparison of reducers, scorers."""
