"""What an encoder is free to choose, and a decoder need not know: the rate, and latents."""
