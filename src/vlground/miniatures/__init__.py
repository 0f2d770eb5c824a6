"""Small trained weights of real architectures; every folder has its card."""
