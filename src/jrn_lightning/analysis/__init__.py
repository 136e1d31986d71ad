"""From the records of a sweep to data frames of findings."""
