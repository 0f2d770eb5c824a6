"""What `vlground-fetch` does: which cells, what they need, where it is, how it comes here."""
