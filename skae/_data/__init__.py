"""Validation, array libraries, devices, threads, data sets, moments and process groups."""
