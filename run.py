"""Train and test joint refinement networks: one job, or with ``-m`` a sweep."""

import hydra
from omegaconf import DictConfig

from jrn_lightning.training.main import launch, prepare, run

prepare()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> None:
    """Run one job of the composed configuration."""
    run(cfg)


if __name__ == "__main__":
    launch(main)
