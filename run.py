"""Train and test joint refinement networks: one job, or with ``-m`` a sweep."""

import sys

from jrn_lightning.training.main import launch

if __name__ == "__main__":
    launch(sys.argv[1:])
