"""What pages are written from: chapters, equations, placeholders, the map of chapters, charts."""
