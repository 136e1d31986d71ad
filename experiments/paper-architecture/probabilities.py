"""Add probabilities, not their logarithms, to the class scores: data.plugins=[probabilities]."""

from jrn_lightning.modalities import Modality, Semantic

Semantic.to_output = Modality.to_output  # type: ignore[method-assign]
