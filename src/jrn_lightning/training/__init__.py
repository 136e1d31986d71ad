"""The LightningModule, one job, its configuration, and Hydra around it."""
