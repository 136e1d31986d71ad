"""From a data set on disk to a prediction cache."""
