"""Making evaluation sets: music at the microphones, scenes, listeners, heads and excerpts, and looking at them."""
