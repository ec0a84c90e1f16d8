"""Reconstruction losses, penalties, corruptions and bounds: functions of tensors."""
