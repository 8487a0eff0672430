"""To hear a streaming system while it works: sound in, the live chain, sound out."""
