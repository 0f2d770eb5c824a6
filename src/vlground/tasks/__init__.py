"""Tasks: LightningModules that make evidence and score it."""
