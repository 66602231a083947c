"""Latents to bytes and back: the entropy model, the order of coding, the adaptive models, and the
container."""
