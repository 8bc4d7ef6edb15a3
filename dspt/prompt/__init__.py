"""The paper: losses, learnable prompt, text encoder, trainer."""
