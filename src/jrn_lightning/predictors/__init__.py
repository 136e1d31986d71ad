"""What fills a cache with predictions: networks trained here, cross-fitted, and trained JRNs."""
