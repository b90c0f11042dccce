"""Where samples come from: annotation files on disk, by path or by name."""
