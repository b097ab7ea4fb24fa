"""Small pure helpers: numbers, time and places on the globe."""
