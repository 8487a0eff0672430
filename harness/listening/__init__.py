"""Sound for people: signals as they are in the file and as a listener hears them, as clips and pictures."""
