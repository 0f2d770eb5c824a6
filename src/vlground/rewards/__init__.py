"""Fine-grained rewards of captions: sentences, nouns, penalties, selection, refinement, export."""
