"""The application's audit chain: found, read, walked by its links, and reported."""
