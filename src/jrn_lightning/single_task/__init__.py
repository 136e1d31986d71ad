"""The networks whose predictions fill a cache, from colour images; cross-fitting."""
