"""What a file keeps of a picture beside its latents: text and drawings exactly, and the finest detail."""
