"""Jobs, their records, and the comparison across a sweep."""
