"""Small helpers: numbers, texts, time, places on the globe, permissions."""
