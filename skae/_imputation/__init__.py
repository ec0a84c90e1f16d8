"""Imputation of missing values."""
