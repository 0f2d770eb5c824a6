"""What fine-tuning is made of: dialogues, batches, adapters, and the parts of a miniature."""
