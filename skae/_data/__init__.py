"""Input: validation, array namespaces, devices, threads, data sets, process groups."""
