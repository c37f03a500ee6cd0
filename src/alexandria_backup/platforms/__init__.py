"""What runs the application: stopped before a swap, started after it."""
