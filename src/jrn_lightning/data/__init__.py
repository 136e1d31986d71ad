"""Prediction caches: format, importers, data module."""
