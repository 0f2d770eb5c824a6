"""Where candidates come from: a model of transformers, a server, or a file."""
