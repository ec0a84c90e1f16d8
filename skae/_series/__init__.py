"""Time series: windows of a series, and outlier detection in them."""
