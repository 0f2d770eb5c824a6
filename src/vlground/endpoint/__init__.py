"""Endpoints that speak OpenAI's chat completions, for whoever asks them: judges and captioners."""
